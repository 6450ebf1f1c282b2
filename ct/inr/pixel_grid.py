"""An image as one free parameter a pixel: the baseline of every network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ct.inr.coordinates import CoordinateImage
from ct.inr.interpolation import interpolate_at
from ct.inr.links import Link, identity
from ct.inr.plain_settings import plain_settings
from ct.problem import Setting

_INITIAL_STD = 0.01  # small beside the image's range


@dataclass(frozen=True, kw_only=True)
class PixelGrid:
    """A plain grid of pixels, x = link(start + θ): linear in θ where the link is the identity.

    Attributes:
        link: applied to every pixel, such as `ct.inr.links.sigmoid`.

    Example:
        >>> image = PixelGrid().build((2, 3), start=0.5, generator=torch.Generator())
        >>> image().shape, round(float(image().detach().mean()), 1)
        (torch.Size([2, 3]), 0.5)
    """

    link: Link = identity

    @property
    def name(self) -> str:
        """The metadata's spelling."""
        return "pixels"

    def settings(self) -> dict[str, Setting]:
        """Return every hyper-parameter by name."""
        return plain_settings(self)

    def build(
        self, shape: tuple[int, int], *, start: float = 0.5, generator: torch.Generator
    ) -> PixelGridImage:
        """Return a grid of that shape, which starts at about the value `start`."""
        return PixelGridImage(self, shape, start=start, generator=generator)


class PixelGridImage(CoordinateImage):
    """The grid that `PixelGrid` describes, for one image shape."""

    def __init__(
        self,
        config: PixelGrid,
        shape: tuple[int, int],
        *,
        start: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.shape = shape
        self._link = config.link
        self._start = config.link.inverse(start)
        self.pixels = nn.Parameter(_INITIAL_STD * torch.randn(shape, generator=generator))
        self.dropout_units = {"pixels": (0, 1)}
        self.step_factors = {}
        self.prior_fan_in = {}

    def forward(self) -> Float[Tensor, "rows columns"]:
        """Return the values at all pixel centres."""
        return self._link.function(self._start + self.pixels)

    def at(self, points: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Return the values at any coordinates (x, y), between pixels bilinearly."""
        # nodes of the interpolation span the image from edge to edge, pixel centres do not
        rows, columns = self.shape
        inner = points.new_tensor([columns / max(columns - 1, 1), rows / max(rows - 1, 1)])
        return interpolate_at(self.forward()[None], points * inner, self.shape)[0]
