"""Pixel coordinates, and images as functions of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from ct.inr.links import Link
from ct.problem import Setting

READ_OUT_SCALE = 0.1
"""On the last layer's initial weights: training goes better from an image that is nearly flat."""


@runtime_checkable
class ImageNetwork(Protocol):
    """A kind of coordinate network: frozen settings, and what builds one for an image's shape.

    Attributes:
        name: as the result's metadata calls it.
        link: what turns the network's output into values.
    """

    @property
    def name(self) -> str:
        """The metadata's spelling."""

    @property
    def link(self) -> Link:
        """What turns outputs into values."""

    def settings(self) -> dict[str, Setting]:
        """Every hyper-parameter by name."""

    def build(
        self, shape: tuple[int, int], *, start: float, generator: torch.Generator
    ) -> CoordinateImage:
        """Return a network with parameters drawn from `generator`.

        Its image, in units in which the range is [0, 1], is about the constant `start`.
        """


class CoordinateImage(nn.Module):
    """An image as a network over coordinates: the interface of what `ImageNetwork`s build.

    Attributes:
        dropout_units: axes of the units that dropout takes from each parameter, by name (see
            `bayesnn.inference.mc_dropout.UnitDropout`).
        step_factors: factor on the learning rate of each parameter, by name; 1 where not named.
        prior_fan_in: fan-in of each parameter, by name; 1 where not named. A Gaussian prior of
            precision τ gives a parameter the variance 1/(τ · fan-in).
    """

    dropout_units: Mapping[str, tuple[int, ...]]
    step_factors: Mapping[str, float]
    prior_fan_in: Mapping[str, int]

    def forward(self) -> Float[Tensor, "rows columns"]:
        """Return the values at all pixel centres."""
        raise NotImplementedError

    def at(self, points: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Return the values at any coordinates (x, y)."""
        raise NotImplementedError


def half_extent(shape: tuple[int, int]) -> tuple[float, float]:
    """Return the largest x and y inside an image: the longer side spans [−1, 1].

    Args:
        shape: numbers of rows and columns.

    Returns:
        Half the width and half the height.

    Example:
        >>> half_extent((10, 20))
        (1.0, 0.5)
    """
    rows, columns = shape
    longer = max(shape)
    return columns / longer, rows / longer


def pixel_coordinates(shape: tuple[int, int]) -> Float64[Tensor, "rows columns 2"]:
    """Return (x, y) of every pixel centre: x to the right, y up, the origin in the middle.

    Both count in half the longer side, so a frequency means the same in all directions.

    Args:
        shape: numbers of rows and columns.

    Returns:
        The coordinates.

    Example:
        >>> pixel_coordinates((1, 2)).tolist()
        [[[-0.5, 0.0], [0.5, 0.0]]]
    """
    x, y = (
        half * ((2 * torch.arange(n, dtype=torch.float64) + 1) / n - 1)
        for half, n in zip(half_extent(shape), reversed(shape), strict=True)
    )
    grid = torch.meshgrid(y.flip(0), x, indexing="ij")
    return torch.stack((grid[1], grid[0]), dim=-1)
