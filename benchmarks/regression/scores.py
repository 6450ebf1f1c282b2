"""What one prediction of one split is worth."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from bayesnn import Predictive
from bayesnn.calibration import (
    constant_width_baseline,
    coverage,
    crps_gaussian,
    expected_calibration_error,
    mean_width,
)
from benchmarks.regression.densities import LogDensity

LEVELS = (50, 95)  # per cent
TERCILES = ("near", "middle", "far")  # of test rows, by distance to the training rows


def scores_of(
    post: Predictive,
    y: Float[np.ndarray, " m"],
    *,
    density: LogDensity,
    distance: Float[np.ndarray, " m"],
    copied: Bool[np.ndarray, " m"],
) -> dict[str, Any]:
    """Return NLL, RMSE, CRPS and calibration, of all rows and by region of the input.

    CRPS, coverage and calibration error are those of the moments; NLL is by `density`.

    Args:
        post: the prediction at the test rows.
        y: their targets.
        density: by which NLL is taken.
        distance: of each row to the training rows.
        copied: which rows stand among the training rows.
    """
    truth = torch.as_tensor(y, dtype=torch.float64)
    values = density(post, truth)
    assert values is not None
    nll = -values.double()
    found: dict[str, Any] = {
        "nll": float(nll.mean()),
        "rmse": float((post.mean - truth).square().mean().sqrt()),
        "crps": float(crps_gaussian(truth, post.mean, post.std)),
        "ece": float(expected_calibration_error(post.interval, truth)),
        "epistemic share": float((post.epistemic_variance / post.variance).mean()),
    }
    for level in LEVELS:
        interval = post.interval(level / 100)
        even = constant_width_baseline(post.mean, post.variance, truth, level=level / 100)
        found |= {
            f"coverage {level}": float(coverage(interval, truth)),
            f"width {level}": float(mean_width(interval)),
            f"even coverage {level}": float(even.coverage),
            f"even width {level}": float(even.mean_width),
        }
    lower, upper = post.interval(0.95)
    held = (truth >= lower) & (truth <= upper)
    order = torch.as_tensor(np.argsort(distance, kind="stable"))
    for name, rows in zip(TERCILES, order.tensor_split(len(TERCILES)), strict=True):
        found[f"nll {name}"] = float(nll[rows].mean())
        found[f"coverage {name}"] = float(held[rows].double().mean())
    alone = torch.as_tensor(~copied)
    found["copied"] = int(copied.sum())
    found["nll alone"] = float(nll[alone].mean())
    return found
