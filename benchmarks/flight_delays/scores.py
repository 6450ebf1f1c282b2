"""Scores of each flight, so that methods can be compared flight by flight, and their summaries."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from bayesnn.calibration import constant_width_baseline
from benchmarks.comparison.paired import Difference, over_clusters
from benchmarks.flight_delays.mixture import Mixture

LEVELS = tuple(k / 20 for k in range(20))  # as in `bayesnn.calibration`
Scores = Mapping[str, Float[np.ndarray, " n"]]


def flight_scores(mixture: Mixture, y: Float[Tensor, " n"]) -> Scores:
    """Return what is known of each flight's prediction and outcome, in minutes and nats.

    Args:
        mixture: predictions.
        y: outcomes.

    Returns:
        nll, crps, square (of the mean's error), pit, mean, epistemic (variance), variance, y, and
        the widths of the central intervals of 50 and 95 %.
    """
    mean = mixture.mean
    found = {
        "nll": mixture.nll(y),
        "crps": mixture.crps(y),
        "square": (mean - y).square(),
        "pit": mixture.pit(y),
        "mean": mean,
        "epistemic": mixture.epistemic_variance,
        "variance": mixture.variance,
        "width50": mixture.quantile(0.75) - mixture.quantile(0.25),
        "width95": mixture.quantile(0.975) - mixture.quantile(0.025),
        "y": y,
    }
    return {name: values.cpu().numpy() for name, values in found.items()}


def inside(pit: Float[np.ndarray, " n"], level: float) -> float:
    """Return the share of outcomes in central intervals."""
    return float((np.abs(2 * pit - 1) <= level).mean())


def summary(scores: Scores) -> dict[str, float]:
    """Return the means over flights.

    The baseline has the same means and one width for all flights: Gaussian, with the root mean
    square of the standard deviations that are judged.
    """
    pit = scores["pit"]
    one_width = constant_width_baseline(scores["mean"], scores["variance"], scores["y"])
    return {
        "flights": len(pit),
        "nll": float(scores["nll"].mean()),
        "rmse": float(np.sqrt(scores["square"].mean())),
        "crps": float(scores["crps"].mean()),
        "inside50": inside(pit, 0.5),
        "inside95": inside(pit, 0.95),
        "width50": float(scores["width50"].mean()),
        "width95": float(scores["width95"].mean()),
        "ece": sum(0.05 * abs(inside(pit, level) - level) for level in LEVELS),
        "one_width_nll": float(one_width.nll),
        "one_width_inside95": float(one_width.coverage),
        "one_width_width95": float(one_width.mean_width),
        "epistemic": float(np.sqrt(scores["epistemic"].mean())),
    }


def difference(
    first: Scores, second: Scores, score: str, *, day: Int[np.ndarray, " n"]
) -> Difference:
    """Return the first method's score less the second's, flight by flight, clustered by day."""
    return over_clusters(first[score], second[score], cluster=day)


def joined(parts: list[Scores]) -> Scores:
    """Return the scores of several parts as one."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
