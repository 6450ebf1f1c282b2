"""An image as a multi-resolution grid of features behind a small network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bayesnn.checks import check_count
from ct.inr.coordinates import CoordinateImage
from ct.inr.interpolation import PlaneInterpolation, level_nodes
from ct.inr.links import Link, identity
from ct.inr.perceptron import by_columns, draw_layers, layer_fan_in
from ct.inr.plain_settings import plain_settings
from ct.problem import Setting

INITIAL_STD = 0.1  # of features: small beside what training makes of them
READ_OUT_STEPS = 0.3  # all pixels share the perceptron, so it bears smaller steps than features


@dataclass(frozen=True, kw_only=True)
class FeatureGrid:
    """Levels of feature planes, interpolated bilinearly, read by a multi-layer perceptron.

    f(x) = MLP([F₁(x), …, F_L(x)]), where level l has `channels` features at nodes that span the
    image, twice as many along the longer side as level l − 1, from `coarsest` to `finest` or
    the image's own number of pixels, whichever is less. With dropout every feature of every node
    is a unit: what is lost is local and of one scale, so uncertainty can differ from place to
    place.

    Attributes:
        coarsest: nodes along the longer side at the first level.
        finest: the most nodes along the longer side.
        channels: features at each node of each level.
        width: units of each hidden layer.
        depth: number of hidden layers.
        activation: of the hidden layers, applied value by value.
        link: applied to the output, such as `ct.inr.links.sigmoid`.

    Raises:
        ValueError: a size below 1, or fewer than 2 nodes.

    Source:
        T. Müller et al., Instant neural graphics primitives, ACM TOG 41, 2022; here with dense
        planes in place of a hash table.

    Example:
        >>> image = FeatureGrid().build((24, 32), generator=torch.Generator().manual_seed(0))
        >>> image().shape, image.at(torch.zeros(5, 2)).shape
        (torch.Size([24, 32]), torch.Size([5]))
    """

    coarsest: int = 16
    finest: int = 256
    channels: int = 8
    width: int = 32
    depth: int = 2
    activation: Callable[[Tensor], Tensor] = nn.functional.silu
    link: Link = identity

    def __post_init__(self) -> None:
        check_count(self.coarsest, "coarsest", minimum=2)
        check_count(self.finest, "finest", minimum=2)
        for name in ("channels", "width", "depth"):
            check_count(getattr(self, name), name)

    @property
    def name(self) -> str:
        """The metadata's spelling."""
        return "feature-grid"

    def settings(self) -> dict[str, Setting]:
        """Return every hyper-parameter by name."""
        return plain_settings(self)

    def levels(self, side: int) -> list[int]:
        """Return the numbers of nodes along a longer side of so many pixels.

        Example:
            >>> FeatureGrid().levels(128), FeatureGrid().levels(100), FeatureGrid().levels(8)
            ([16, 32, 64, 128], [16, 32, 64, 100], [8])
        """
        return [rows for rows, _ in level_nodes(self.coarsest, self.finest, (side, side))]

    def build(
        self, shape: tuple[int, int], *, start: float = 0.5, generator: torch.Generator
    ) -> FeatureGridImage:
        """Return a network for images of that shape, which starts at about the value `start`."""
        return FeatureGridImage(self, shape, start=start, generator=generator)


class FeatureGridImage(CoordinateImage):
    """The network that `FeatureGrid` describes, for one image shape."""

    def __init__(
        self,
        config: FeatureGrid,
        shape: tuple[int, int],
        *,
        start: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.shape = shape
        self._activation = config.activation
        self._link = config.link
        levels = level_nodes(config.coarsest, config.finest, shape)
        self.planes = nn.ParameterList(
            INITIAL_STD * torch.randn(config.channels, *nodes, generator=generator)
            for nodes in levels
        )
        self.interpolation = PlaneInterpolation(shape, levels)
        self.weights, self.biases = draw_layers(
            config.channels * len(self.planes),
            config.width,
            config.depth,
            read_out_bias=config.link.inverse(start),
            generator=generator,
        )
        self.dropout_units = {f"planes.{level}": (0, 1, 2) for level in range(len(self.planes))}
        self.step_factors = {
            name: READ_OUT_STEPS
            for name, _ in self.named_parameters()
            if not name.startswith("planes.")
        }
        self.prior_fan_in = layer_fan_in(self.weights)

    def forward(self) -> Float[Tensor, "rows columns"]:
        """Return the values at all pixel centres."""
        return self._read_out(self.interpolation(list(self.planes))).reshape(self.shape)

    def at(self, points: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Return the values at any coordinates (x, y)."""
        return self._read_out(self.interpolation.at(list(self.planes), points))

    def _read_out(self, features: Float[Tensor, "features n"]) -> Float[Tensor, " n"]:
        layers = (self.weights, self.biases)
        return self._link.function(by_columns(features, layers, self._activation))
