"""Bilinear interpolation of feature planes, as two small matrices or point by point."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ct.inr.coordinates import half_extent


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
