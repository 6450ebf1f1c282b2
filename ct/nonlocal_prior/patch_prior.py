"""BM3D as a prior: images without what their groups of similar patches do not share."""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ct.nonlocal_prior.blocks import blocks_of, match_blocks
from ct.nonlocal_prior.collaborative_filter import collaborative_filter, hard_threshold, wiener
from ct.nonlocal_prior.noise_levels import NoiseLevels, measured_noise
from ct.nonlocal_prior.patch_bases import patch_transform
from ct.nonlocal_prior.portions import portions_under

_THRESHOLD = 2.7  # standard deviations, as published


class PatchPrior:
    """BM3D of several images in turn; the groups may stay from one call to the next.

    Attributes:
        matches: the groups of each image as they were formed last; empty before the first call.
    """

    def __init__(
        self,
        like: Float[Tensor, "slices rows columns"],
        *,
        patch: int,
        group: int,
        reach: int,
        stride: int,
        budget: int | None = None,
    ) -> None:
        """Cut images.

        Args:
            like: images of the shape, device and dtype.
            patch: pixels along a patch's side.
            group: the most patches of a group.
            reach: how far apart patches of a group may lie.
            stride: pixels between patches for which groups are formed.
            budget: bytes that the work in patches may take; None for any number.
        """
        rows, columns = like.shape[-2:]
        self._blocks = blocks_of(
            (rows, columns), side=patch, stride=stride, reach=reach, group=group
        )
        self._transform = patch_transform(self._blocks, like)
        self._portions = portions_under(budget, self._blocks, like)
        self.matches: list[Int64[Tensor, "references group"]] = []

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
            self.matches = [
                match_blocks(one, self._blocks, at_once=self._portions.offsets) for one in images
            ]
        return torch.stack([
            self._clean(images[k], self._levels(noise[:, k]).scaled(strength), self.matches[k])
            for k in range(len(images))
        ])

    def _levels(self, noise: Float[Tensor, "drawn rows columns"]) -> NoiseLevels:
        return measured_noise(
            noise, self._blocks, self._transform, at_once=self._portions.cell_rows
        )

    def _clean(
        self,
        image: Float[Tensor, "rows columns"],
        levels: NoiseLevels,
        groups: Int64[Tensor, "references group"],
    ) -> Float[Tensor, "rows columns"]:
        clean = partial(
            collaborative_filter,
            matches=groups,
            levels=levels,
            blocks=self._blocks,
            transform=self._transform,
            portions=self._portions,
        )
        pilot = clean(image, gain=hard_threshold(_THRESHOLD))
        return clean(image, gain=wiener, pilot=pilot)
