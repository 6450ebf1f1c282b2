"""How noisy each coefficient of a patch is, where noise is neither even nor white."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

_WIDTH = 1.0  # standard deviation of the window over cells, in cells
_SHARED = 0.3
"""Share of the whole image's level in every place's: where rays are least noisy, what the model of
them misses is not, and a place's few coefficients know their own level only roughly."""


@dataclass(frozen=True, kw_only=True)
class NoiseLevels:
    """Variances of a patch's coefficients, alike for patches of one cell of the image.

    Attributes:
        variances: of each cell.
        cell: of each patch.
    """

    variances: Float[Tensor, "cells coefficients"]
    cell: Int64[Tensor, " patches"]

    def of(
        self, patches: Int64[Tensor, "group references"]
    ) -> Float[Tensor, "group references coefficients"]:
        """Return the variances in patches."""
        return self.variances[self.cell[patches]]

    def scaled(self, factor: float) -> NoiseLevels:
        """Return variances of noise that is that many times larger."""
        return NoiseLevels(variances=self.variances * factor**2, cell=self.cell)


def white_noise(std: float, *, places: tuple[int, int], side: int, like: Tensor) -> NoiseLevels:
    """Return the levels of noise that is the same in all pixels and not correlated.

    Args:
        std: standard deviation of a pixel.
        places: rows and columns of places where a patch fits.
        side: pixels along a patch's side.
        like: a tensor of the device and dtype to compute in.
    """
    return NoiseLevels(
        variances=torch.full((1, side**2), std**2).to(like),
        cell=torch.zeros(places[0] * places[1], dtype=torch.long, device=like.device),
    )


def measured_noise(
    coefficients: Float[Tensor, "drawn patches coefficients"], places: tuple[int, int], side: int
) -> NoiseLevels:
    """Return the levels that drawn noise has: squares, averaged over neighbouring patches.

    A cell is as large as a patch; a Gaussian window averages over cells, so that two drawn images
    are enough for some five hundred squares a coefficient.

    Args:
        coefficients: of drawn noise, as it is in the image that is to be cleaned of noise.
        places: rows and columns of places where a patch fits.
        side: pixels along a patch's side.
    """
    power = coefficients.square().mean(0).T.reshape(-1, 1, *places)
    cells = avg_pool2d(power, side, ceil_mode=True, count_include_pad=False)
    # the last cells of a row or column hold fewer patches, which count for no more than they are
    counts = avg_pool2d(torch.ones_like(power[:1]), side, ceil_mode=True, divisor_override=side**2)
    local = _blurred(cells * counts) / _blurred(counts)
    everywhere = power.mean((-2, -1), keepdim=True)
    variances = (1 - _SHARED) * local + _SHARED * everywhere
    rows, columns = (torch.arange(n, device=power.device) // side for n in places)
    return NoiseLevels(
        variances=variances.flatten(1).T.contiguous(),
        cell=(rows[:, None] * cells.shape[-1] + columns).flatten(),
    )


def _blurred(
    cells: Float[Tensor, "images one rows columns"],
) -> Float[Tensor, "images one rows columns"]:
    radius = round(3 * _WIDTH)
    at = torch.arange(-radius, radius + 1, device=cells.device, dtype=cells.dtype)
    window = torch.exp(-0.5 * (at / _WIDTH) ** 2)
    tall = conv2d(cells, window[None, None, :, None], padding=(radius, 0))
    return conv2d(tall, window[None, None, None, :], padding=(0, radius))
