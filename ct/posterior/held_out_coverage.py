"""How often intervals for rays that were held out cover them: the reliability of what is said."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from bayesnn.calibration import reliability_curve
from ct.posterior.blur import blurred_along_last
from ct.posterior.missing_detail import HeldOutRays
from ct.posterior.variance_fit import fit_variance
from ct.projectors.operator import Projector

_ALONG_RAYS = 6.0  # bins, over which the predicted squares are averaged
_MOST_RAYS = 50_000  # that the fit looks at


def held_out_coverage(
    rays: HeldOutRays,
    body: Float64[Tensor, "rows columns"],
    operator: Projector,
    folds: Int64[Tensor, " views"],
    levels: Sequence[float],
) -> dict[float, float]:
    """Return the share of held-out rays within the interval of each level.

    A ray's variance is its noise's, plus what errors of the image add: of like rays in the scan
    whose truth is known, and in proportion to the path inside and outside the body. The proportions
    come from the other half of the folds, so no ray is judged by anything that has seen it. Its
    interval is a Gaussian's, because it sums the errors of many pixels and noise.

    Args:
        rays: held-out rays.
        body: the body's share of each pixel's neighbourhood.
        operator: A.
        folds: each view's fold.
        levels: of the intervals.

    Returns:
        Level to share of the measured rays; empty where there are none or there is one fold.
    """
    squares = rays.residual.double().square()
    like = blurred_along_last(rays.predictable.double().square().mean(0), _ALONG_RAYS)
    paths = operator(torch.stack([body, 1 - body]).to(rays.residual)).double().clamp(min=0)
    parts = torch.stack([like, *paths], dim=-1)
    noise = rays.noise_variance.double()
    even = (folds % 2 == 0).to(squares.device)[:, None] & rays.measured
    odd = ~even & rays.measured
    if not (bool(even.any()) and bool(odd.any())):
        return {}
    scores = torch.zeros_like(squares)
    for fitted, judged in ((even, odd), (odd, even)):
        stride = -(-int(fitted.sum()) // _MOST_RAYS)
        amounts = fit_variance(
            squares[fitted][::stride], parts[fitted][::stride], noise[fitted][::stride]
        )
        variance = parts @ amounts + noise
        scores[judged] = squares[judged].sqrt() / variance[judged].sqrt()
    widths = torch.special.ndtri(0.5 + torch.tensor(levels, dtype=torch.float64) / 2)
    shares = reliability_curve(scores[rays.measured], widths)
    return dict(zip(levels, shares.tolist(), strict=True))
