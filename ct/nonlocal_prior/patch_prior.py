"""BM3D as a prior: images without what their groups of similar patches do not share."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ct.nonlocal_prior.blocks import blocks_of, match_blocks
from ct.nonlocal_prior.collaborative_filter import (
    coefficients_of,
    collaborative_filter,
    hard_threshold,
    patch_transform,
    wiener,
)
from ct.nonlocal_prior.noise_levels import NoiseLevels, measured_noise

_THRESHOLD = 2.7  # standard deviations, as published


class PatchPrior:
    """BM3D of several images in turn; the groups may stay from one call to the next."""

    def __init__(
        self,
        like: Float[Tensor, "slices rows columns"],
        *,
        patch: int,
        group: int,
        reach: int,
        stride: int,
    ) -> None:
        rows, columns = like.shape[-2:]
        self._blocks = blocks_of(
            (rows, columns), side=patch, stride=stride, reach=reach, group=group
        )
        self._transform = patch_transform(self._blocks, like)
        self._matches: list[Int64[Tensor, "references group"]] = []

    def clean(
        self,
        images: Float[Tensor, "slices rows columns"],
        noise: Float[Tensor, "drawn slices rows columns"],
        *,
        strength: float,
        match: bool,
    ) -> Float[Tensor, "slices rows columns"]:
        """Return the images without noise like that.

        Coefficients of groups are thresholded first; what remains is the pilot of a Wiener filter.

        Args:
            images: one a slice.
            noise: drawn images of the noise in each, in the image's units.
            strength: how many times that noise to remove.
            match: whether to form the groups anew; the first call must.
        """
        if match:
            self._matches = [match_blocks(one, self._blocks) for one in images]
        return torch.stack([
            self._clean(images[k], self._levels(noise[:, k]).scaled(strength), self._matches[k])
            for k in range(len(images))
        ])

    def _levels(self, noise: Float[Tensor, "drawn rows columns"]) -> NoiseLevels:
        coefficients = torch.stack([coefficients_of(one, self._transform) for one in noise])
        return measured_noise(coefficients, self._blocks.places, self._blocks.side)

    def _clean(
        self,
        image: Float[Tensor, "rows columns"],
        levels: NoiseLevels,
        groups: Int64[Tensor, "references group"],
    ) -> Float[Tensor, "rows columns"]:
        blocks, transform = self._blocks, self._transform
        pilot = collaborative_filter(
            image, groups, hard_threshold(_THRESHOLD), levels, blocks=blocks, transform=transform
        )
        return collaborative_filter(
            image, groups, wiener, levels, blocks=blocks, transform=transform, pilot=pilot
        )
