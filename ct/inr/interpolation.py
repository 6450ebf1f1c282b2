"""Bilinear interpolation of feature planes, as two small matrices or point by point."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from ct.inr.coordinates import half_extent

Nodes = tuple[int, int]
"""Rows and columns of a plane."""


class PlaneInterpolation(nn.Module):
    """Bilinear interpolation of planes of features, of several numbers of nodes, for one image.

    At all pixels a plane F is R F Cᵀ with two small matrices, which are kept.
    """

    def __init__(self, shape: tuple[int, int], levels: Sequence[Nodes]) -> None:
        super().__init__()
        self._shape = shape
        self._n_levels = len(levels)
        dtype = torch.get_default_dtype()
        for level, (rows, columns) in enumerate(levels):
            by_axis = {"rows": (rows, shape[0]), "columns": (columns, shape[1])}
            for axis, (n_nodes, n_pixels) in by_axis.items():
                matrix = interpolation_matrix(n_nodes, n_pixels).to(dtype)
                self.register_buffer(f"{axis}_{level}", matrix, persistent=False)

    def forward(
        self, planes: Sequence[Float[Tensor, "channels _ _"]]
    ) -> Float[Tensor, "features pixels"]:
        """Return the features of all levels at all pixel centres."""
        features = [
            self.get_buffer(f"rows_{level}") @ plane @ self.get_buffer(f"columns_{level}").T
            for level, plane in enumerate(planes)
        ]
        return torch.cat(features).flatten(1)

    def at(
        self,
        planes: Sequence[Float[Tensor, "channels _ _"]],
        points: Float[Tensor, "n 2"],
    ) -> Float[Tensor, "features n"]:
        """Return the features of all levels at any coordinates (x, y)."""
        return torch.cat([interpolate_at(plane, points, self._shape) for plane in planes])


def level_nodes(coarsest: int, finest: int, shape: tuple[int, int]) -> list[Nodes]:
    """Return rows and columns of each level's nodes, twice as many from level to level.

    Along the image's longer side there are `coarsest` nodes, and so on up to `finest` or as many
    as pixels. Cells are about square, and each side has two nodes at least, one at each edge.

    Example:
        >>> level_nodes(16, 256, (100, 50))
        [(16, 8), (32, 16), (64, 32), (100, 50)]
    """
    side = max(shape)
    finest = max(2, min(finest, side))
    n_coarser = math.ceil(math.log2(max(finest / coarsest, 1)))
    longer = [coarsest << level for level in range(n_coarser)] + [finest]
    return [
        (max(2, round(n * shape[0] / side)), max(2, round(n * shape[1] / side))) for n in longer
    ]


def interpolation_matrix(n_nodes: int, n_pixels: int) -> Float64[Tensor, "pixels nodes"]:
    """Return the matrix that interpolates linearly from nodes to pixel centres, along one axis.

    The first and the last node lie on the outer edges of the first and the last pixel. Pixels are
    fixed, so a plane of features F becomes R F Cᵀ: two dense products with a deterministic
    gradient, where a gather would scatter it.

    Args:
        n_nodes: nodes along the axis, at least 2.
        n_pixels: pixels along the axis.

    Returns:
        Weights; every row sums to one and holds at most two that are not zero.

    Example:
        >>> interpolation_matrix(2, 2).tolist()
        [[0.75, 0.25], [0.25, 0.75]]
    """
    position = (torch.arange(n_pixels, dtype=torch.float64) + 0.5) * (n_nodes - 1) / n_pixels
    nodes = torch.arange(n_nodes, dtype=torch.float64)
    return (1 - (position[:, None] - nodes).abs()).clamp(min=0)


def interpolate_at(
    plane: Float[Tensor, "channels rows columns"],
    points: Float[Tensor, "n 2"],
    shape: tuple[int, int],
) -> Float[Tensor, "channels n"]:
    """Interpolate a plane of features bilinearly at any points, by gathering.

    Args:
        plane: features at the nodes, which span the image from edge to edge.
        points: coordinates (x, y) as of `pixel_coordinates`.
        shape: rows and columns of the image.

    Returns:
        The features; outside the image those of its edge.
    """
    half = points.new_tensor(half_extent(shape))
    where = points / half * points.new_tensor([1.0, -1.0])  # grid_sample's y points down
    sampled = torch.nn.functional.grid_sample(
        plane[None], where[None, None], mode="bilinear", align_corners=True, padding_mode="border"
    )
    return sampled[0, :, 0]
