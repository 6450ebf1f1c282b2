"""Where an image's errors are: a variance for every pixel, learnt where the truth is known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from scipy.optimize import isotonic_regression
from torch import Tensor

from ct.posterior.blur import blurred

_SPREAD_SCALES = (0.7, 1.5, 4.0)  # pixels, over which the folds' spread is averaged
_SLOPE_SCALES = (1.0, 3.0)
_FLOOR = 0.1  # of a feature's median: below it a feature tells nothing
_LEAST_FLOOR = 1e-3  # of a feature's mean, where more than half of the pixels have none of it
_BEYOND = math.log(4.0)  # how far features may lie beyond those that were learnt from
_RIDGE = 1e-3
_ITERATIONS = 60
_STEP = 0.7  # of Fisher's scoring
_MOST_EXCESS = 50.0  # of a square over its variance: one pixel cannot do more
_BODY_BLUR = 3.0
_THRESHOLD_TOLERANCE = 1e-4  # of the image's range
_MOST_PIXELS = 50_000  # that a fit looks at
_MOST_STEPS = 40  # of the curve from fitted variances to mean squares
_FEWEST_PIXELS = 10  # of a step


def error_features(
    mean: Float[Tensor, "rows columns"], folds: Float[Tensor, "folds rows columns"]
) -> Float64[Tensor, "features rows columns"]:
    """Return what tells of a pixel's error: the folds' variance and the image's slope around it.

    The variance of images that each lack some of the views, at three scales, is a jackknife's: it
    is large where the image hangs on few views. The squared slope, at two scales, adds edges that
    all folds agree on. All are at least 0 and scale as a variance does.

    Args:
        mean: the image from all views.
        folds: images that each lack a fold of the views; at least two.

    Returns:
        Positive numbers that grow with the error, in float64.
    """
    variance = folds.double().var(0)
    down, right = torch.gradient(mean.double())
    slope = down.square() + right.square()
    return torch.stack([
        *(blurred(variance, scale) for scale in _SPREAD_SCALES),
        *(blurred(slope, scale) for scale in _SLOPE_SCALES),
    ])


@dataclass(frozen=True, kw_only=True)
class ErrorVariance:
    """v = f(exp(b₀ + Σ_j b_j (log(φ_j + ε_j) − c_j))), each log within the range it was fitted in.

    f never falls. A few pixels at edges have far larger features than all others; a plane through
    the logs overshoots there, and f is what their errors really are.

    Attributes:
        weights: b.
        floors: ε, below which a feature tells nothing.
        centres: c, the mean logs.
        lowest: the least log of each feature.
        highest: its greatest.
        curve: log f at places of log v, row by row: places that rise, and what never falls there.
    """

    weights: Float64[Tensor, " weights"]
    floors: Float64[Tensor, " features"]
    centres: Float64[Tensor, " features"]
    lowest: Float64[Tensor, " features"]
    highest: Float64[Tensor, " features"]
    curve: Float64[Tensor, "two steps"]

    def at(
        self, features: Float64[Tensor, "features rows columns"]
    ) -> Float64[Tensor, "rows columns"]:
        """Return the variance of an image's pixels.

        Args:
            features: of the image, as `error_features` gives them.

        Returns:
            v, above 0.
        """
        logs = _logs(features, self.floors)
        low, high = (ends[:, None, None] for ends in (self.lowest, self.highest))
        logs = logs.clamp(low - _BEYOND, high + _BEYOND) - self.centres[:, None, None]
        plane = self.weights[0] + torch.tensordot(self.weights[1:], logs, dims=1)
        variance: Tensor = interpolated(plane, self.curve).exp()
        return variance


def fit_error_variance(
    error: Float64[Tensor, "rows columns"],
    features: Float64[Tensor, "features rows columns"],
) -> ErrorVariance:
    """Return the variance under which known errors are likeliest.

    Minimises Σ log v + e²/v, which is convex in b, by Fisher's scoring; then f is the rising curve
    through mean squares of errors of like v, by isotonic regression.

    Args:
        error: of an image whose truth is known.
        features: of that image.

    Returns:
        How the variance follows from the features.

    Source:
        P. McCullagh, J. Nelder, Generalized Linear Models, 1989: gamma variables, logarithmic link.
        R. E. Barlow et al., Statistical Inference under Order Restrictions, 1972.
    """
    tiny = torch.finfo(torch.float64).tiny
    flat = features.flatten(1)
    floors = _FLOOR * flat.median(1).values + _LEAST_FLOOR * flat.mean(1)
    logs = _logs(features, floors).flatten(1)
    centres = logs.mean(1)
    stride = -(-logs.shape[1] // _MOST_PIXELS)
    squares = error.square().flatten()[::stride]
    columns = (logs - centres[:, None])[:, ::stride]
    columns = torch.cat([torch.ones_like(columns[:1]), columns])
    gram = columns @ columns.T
    gram += _RIDGE * len(squares) * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    weights = torch.zeros_like(gram[0])
    weights[0] = squares.mean().clamp(min=1e3 * tiny).log()
    for _ in range(_ITERATIONS):
        excess = (squares / (weights @ columns).exp() - 1).clamp(max=_MOST_EXCESS)
        weights = weights + _STEP * torch.linalg.solve(gram, columns @ excess)
    plane = weights[0] + weights[1:] @ (logs - centres[:, None])
    capped = torch.minimum(error.square().flatten(), _MOST_EXCESS * plane.exp())
    return ErrorVariance(
        weights=weights,
        floors=floors,
        centres=centres,
        lowest=logs.amin(1),
        highest=logs.amax(1),
        curve=_rising_curve(plane, capped),
    )


def _rising_curve(
    logs: Float64[Tensor, " pixels"], squares: Float64[Tensor, " pixels"]
) -> Float64[Tensor, "two steps"]:
    """Return mean logs of pixels of like fitted variance, and the log of their mean square."""
    order = logs.argsort(stable=True)
    # steps are smaller toward the few pixels that have the largest variances
    n_steps = max(1, min(_MOST_STEPS, math.isqrt(len(order) // _FEWEST_PIXELS)))
    ends = [round((1 - (1 - k / n_steps) ** 2) * len(order)) for k in range(n_steps + 1)]
    steps = [order[begin:end] for begin, end in itertools.pairwise(ends)]
    places = torch.stack([logs[step].mean() for step in steps])
    means = torch.stack([squares[step].mean() for step in steps])
    sizes = [len(step) for step in steps]
    rising = isotonic_regression(means.cpu().numpy(), weights=sizes).x
    least = 1e-6 * max(float(squares.mean()), torch.finfo(torch.float64).tiny * 1e6)
    return torch.stack([places, torch.from_numpy(rising).to(places).clamp(min=least).log()])


def interpolated(
    values: Float64[Tensor, "rows columns"], curve: Float64[Tensor, "two steps"]
) -> Float64[Tensor, "rows columns"]:
    """Return the curve's heights, between its places by straight lines, beyond them constant.

    Example:
        >>> curve = torch.tensor([[0.0, 2.0], [1.0, 5.0]], dtype=torch.float64)
        >>> interpolated(torch.tensor([[-1.0, 0.5, 9.0]], dtype=torch.float64), curve).tolist()
        [[1.0, 2.0, 5.0]]
    """
    places, heights = curve
    if len(places) == 1:
        constant: Tensor = heights.expand_as(values)
        return constant
    right = torch.searchsorted(places, values.contiguous()).clamp(1, len(places) - 1)
    gap = (places[right] - places[right - 1]).clamp(min=torch.finfo(places.dtype).tiny)
    share = ((values - places[right - 1]) / gap).clamp(0, 1)
    found: Tensor = torch.lerp(heights[right - 1], heights[right], share)
    return found


def _logs(
    features: Float64[Tensor, "features rows columns"], floors: Float64[Tensor, " features"]
) -> Float64[Tensor, "features rows columns"]:
    tiny = torch.finfo(torch.float64).tiny
    return (features + floors[:, None, None]).clamp(min=tiny).log()


def body_share(mean: Float[Tensor, "rows columns"]) -> Float64[Tensor, "rows columns"]:
    """Return how much of a pixel's neighbourhood is brighter than Li's threshold, in [0, 1].

    Unlike Otsu's, it has faint materials in the body too where one part is far brighter than all
    others.

    Args:
        mean: the image.

    Returns:
        About 1 inside the object and 0 in the air; 1/2 everywhere in an image of one value.

    Source:
        C. H. Li, C. K. Lee, Minimum cross entropy thresholding, Pattern Recognition 26, 1993.
    """
    from skimage.filters import threshold_li

    values = mean.detach().double()
    size = float(values.max() - values.min())
    if not size > 0:
        return torch.full_like(values, 0.5)
    find: Callable[..., float] = threshold_li
    threshold = float(find(values.cpu().numpy(), tolerance=_THRESHOLD_TOLERANCE * size))
    return blurred((values > threshold).double(), _BODY_BLUR).clamp(0, 1)
