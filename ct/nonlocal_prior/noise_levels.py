"""How noisy each coefficient of a patch is, where noise is neither even nor white."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

from ct.nonlocal_prior.blocks import Blocks
from ct.nonlocal_prior.patch_bases import PatchTransform, coefficients_of
from ct.posterior.chunked import in_chunks

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

    @property
    def usual(self) -> Float[Tensor, ""]:
        """Return the mean variance, above zero."""
        return self.variances.mean().clamp(min=torch.finfo(self.variances.dtype).tiny)

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
    noise: Float[Tensor, "drawn rows columns"],
    blocks: Blocks,
    transform: PatchTransform,
    *,
    at_once: int | None = None,
) -> NoiseLevels:
    """Return the levels that drawn noise has: squares, averaged over neighbouring patches.

    A cell is as large as a patch; a Gaussian window averages over cells, so that two drawn images
    are enough for some five hundred squares a coefficient.

    Args:
        noise: drawn images of it, as it is in the image that is to be cleaned of noise.
        blocks: how images are cut.
        transform: the patches' basis.
        at_once: of how many rows of cells coefficients are taken at once; None for all.
    """
    side, places = blocks.side, blocks.places

    def powers(cell_rows: range) -> Float[Tensor, "coefficients one rows columns"]:
        top, bottom = cell_rows.start * side, min(cell_rows.stop * side, places[0])
        strip = noise[:, top : bottom + side - 1]
        power = coefficients_of(strip[0], transform).square_()
        for one in strip[1:]:
            power += coefficients_of(one, transform).square_()
        by_place = power.T.reshape(-1, 1, bottom - top, places[1])
        return avg_pool2d(by_place, side, ceil_mode=True, count_include_pad=False)

    n_rows = -(-places[0] // side)
    chunks = in_chunks(powers, n=n_rows, at_once=at_once or n_rows, what="rows of cells")
    cells = torch.cat(chunks.results, dim=2) / len(noise)
    # the last cells of a row or column hold fewer patches, which count for no more than they are
    counts = avg_pool2d(
        cells.new_ones(1, 1, *places), side, ceil_mode=True, divisor_override=side**2
    )
    local = _blurred(cells * counts) / _blurred(counts)
    everywhere = (cells * counts).sum((-2, -1), keepdim=True) / counts.sum()
    variances = (1 - _SHARED) * local + _SHARED * everywhere
    rows, columns = (torch.arange(n, device=noise.device) // side for n in places)
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
