"""Where an image's errors are: a variance for every pixel, learnt where the truth is known."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ct.posterior.blur import blurred
from ct.posterior.variance_fit import fit_variance

_SCALES = (0.7, 1.5, 4.0)  # pixels, over which the folds' spread is averaged
_SLOPE_SCALE = 1.0
_BODY_BLUR = 3.0
_MOST_PIXELS = 50_000  # that a fit looks at


def error_features(
    mean: Float[Tensor, "rows columns"], folds: Float[Tensor, "folds rows columns"]
) -> Float64[Tensor, "features rows columns"]:
    """Return what tells of a pixel's error: the folds' variance around it, the image's slope, 1.

    The variance of images that each lack some of the views, at three scales, is a jackknife's: it
    is large where the image hangs on few views. The squared slope adds edges that all folds agree
    on. All are at least 0 and scale as a variance does.

    Args:
        mean: the image from all views.
        folds: images that each lack a fold of the views; at least two.

    Returns:
        Parts of a variance, in float64.
    """
    variance = folds.double().var(0)
    down, right = torch.gradient(mean.double())
    slope = blurred(down.square() + right.square(), _SLOPE_SCALE)
    averages = [blurred(variance, scale) for scale in _SCALES]
    return torch.stack([*averages, slope, torch.ones_like(slope)])


def fit_error_variance(
    error: Float64[Tensor, "rows columns"],
    features: Float64[Tensor, "features rows columns"],
) -> Float64[Tensor, " features"]:
    """Return the weights of the features under which known errors are likeliest.

    Args:
        error: of an image whose truth is known.
        features: parts of its variance.

    Returns:
        One weight a feature, at least 0.
    """
    squares = error.square().flatten()
    stride = -(-len(squares) // _MOST_PIXELS)
    parts = features.flatten(1).T[::stride]
    return fit_variance(squares[::stride], parts, torch.zeros_like(parts[:, 0]))


def body_share(mean: Float[Tensor, "rows columns"]) -> Float64[Tensor, "rows columns"]:
    """Return how much of a pixel's neighbourhood is brighter than Otsu's threshold, in [0, 1].

    Args:
        mean: the image.

    Returns:
        About 1 inside the object and 0 in the air; 1/2 everywhere in an image of one value.
    """
    from skimage.filters import threshold_otsu

    values = mean.detach().double()
    if not bool(values.max() > values.min()):
        return torch.full_like(values, 0.5)
    threshold: float = float(threshold_otsu(values.cpu().numpy()))  # type: ignore[no-untyped-call]
    return blurred((values > threshold).double(), _BODY_BLUR).clamp(0, 1)
