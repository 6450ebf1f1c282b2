"""BM3D as a prior: images without what their groups of similar patches do not share."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ct.nonlocal_prior.blocks import blocks_of, match_blocks
from ct.nonlocal_prior.collaborative_filter import (
    collaborative_filter,
    hard_threshold,
    patch_transform,
    wiener,
)

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
        noise_std: Float[Tensor, " slices"],
        *,
        match: bool,
    ) -> Float[Tensor, "slices rows columns"]:
        """Return the images without noise of that size.

        Coefficients of groups are thresholded first; what remains is the pilot of a Wiener filter.

        Args:
            images: one a slice.
            noise_std: of each, in the image's units.
            match: whether to form the groups anew; the first call must.
        """
        if match:
            self._matches = [match_blocks(one, self._blocks) for one in images]
        return torch.stack([
            self._clean(one, float(std), groups)
            for one, std, groups in zip(images, noise_std.tolist(), self._matches, strict=True)
        ])

    def _clean(
        self,
        image: Float[Tensor, "rows columns"],
        noise_std: float,
        groups: Int64[Tensor, "references group"],
    ) -> Float[Tensor, "rows columns"]:
        blocks, transform = self._blocks, self._transform
        pilot = collaborative_filter(
            image,
            groups,
            hard_threshold(_THRESHOLD * noise_std),
            blocks=blocks,
            transform=transform,
        )
        return collaborative_filter(
            image, groups, wiener(noise_std), blocks=blocks, transform=transform, pilot=pilot
        )
