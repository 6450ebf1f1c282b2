"""Gaussian blur of images, for local averages."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_REACH = 4.0  # standard deviations


def blurred(
    images: Float[Tensor, "*batch rows columns"], std: float
) -> Float[Tensor, "*batch rows columns"]:
    """Return the images convolved with a Gaussian; beyond the borders they are mirrored.

    Args:
        images: any number of images.
        std: the Gaussian's standard deviation in pixels; 0 changes nothing.

    Returns:
        Local averages.

    Example:
        >>> bool(blurred(torch.ones(6, 5), 2.0).allclose(torch.ones(6, 5)))
        True
    """
    return _along_last(_along_last(images, std).mT, std).mT if std > 0 else images


def blurred_along_last(values: Float[Tensor, "*batch n"], std: float) -> Float[Tensor, "*batch n"]:
    """Return the values convolved with a Gaussian along the last dimension alone.

    Args:
        values: such as rays along their detectors.
        std: the Gaussian's standard deviation in steps; 0 changes nothing.

    Returns:
        Local averages.
    """
    return _along_last(values, std) if std > 0 else values


def _along_last(values: Tensor, std: float) -> Tensor:
    n = values.shape[-1]
    reach = max(1, round(_REACH * std))
    taps = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (taps / std).square())
    weights = (weights / weights.sum()).to(values)
    # indices of a mirrored line, whose ends are not repeated twice as far as they go
    places = torch.arange(-reach, n + reach, device=values.device).remainder(2 * n)
    places = torch.where(places < n, places, 2 * n - 1 - places)
    blurred_line: Tensor = torch.nn.functional.conv1d(
        values[..., places].reshape(-1, 1, n + 2 * reach), weights[None, None]
    )
    return blurred_line.reshape(values.shape)
