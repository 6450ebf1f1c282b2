"""An image as a multi-resolution grid of features whose fine levels share the entries of tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bayesnn.checks import check_count
from ct.inr.coordinates import CoordinateImage
from ct.inr.feature_grid import INITIAL_STD, READ_OUT_STEPS
from ct.inr.hashed_plane import HashedPlane
from ct.inr.interpolation import PlaneInterpolation, level_nodes
from ct.inr.links import Link, identity
from ct.inr.perceptron import by_columns, draw_layers, layer_fan_in
from ct.inr.plain_settings import plain_settings
from ct.problem import Setting


@dataclass(frozen=True, kw_only=True)
class HashGrid:
    """`FeatureGrid` with at most `entries` nodes a level: beyond, nodes share them by a hash.

    The features of node (i, j) of a level with more nodes are those of entry
    (i ⊕ 2654435761 · j) mod `entries` of its table. So the finest level may be as fine as the
    image at a fraction of the parameters, and what shares an entry has to agree. Gradients are
    summed in a fixed order: the same bits each time, on every device.

    Attributes:
        coarsest: nodes along the longer side at the first level.
        finest: the most nodes along the longer side.
        entries: the most entries of a level's table.
        channels: features of each entry.
        width: units of each hidden layer.
        depth: number of hidden layers.
        activation: of the hidden layers, applied value by value.
        link: applied to the output, such as `ct.inr.links.sigmoid`.

    Raises:
        ValueError: a size below 1, or fewer than 2 nodes.

    Source:
        T. Müller et al., Instant neural graphics primitives, ACM TOG 41, 2022.

    Example:
        >>> grid = HashGrid(entries=256)
        >>> image = grid.build((24, 32), generator=torch.Generator().manual_seed(0))
        >>> image().shape, [tuple(table.shape) for table in image.tables]
        (torch.Size([24, 32]), [(8, 192), (8, 256)])
    """

    coarsest: int = 16
    finest: int = 512
    entries: int = 2**16
    channels: int = 8
    width: int = 32
    depth: int = 2
    activation: Callable[[Tensor], Tensor] = nn.functional.silu
    link: Link = identity

    def __post_init__(self) -> None:
        check_count(self.coarsest, "coarsest", minimum=2)
        check_count(self.finest, "finest", minimum=2)
        for name in ("entries", "channels", "width", "depth"):
            check_count(getattr(self, name), name)

    @property
    def name(self) -> str:
        """The metadata's spelling."""
        return "hash-grid"

    def settings(self) -> dict[str, Setting]:
        """Return every hyper-parameter by name."""
        return plain_settings(self)

    def build(
        self, shape: tuple[int, int], *, start: float = 0.5, generator: torch.Generator
    ) -> HashGridImage:
        """Return a network for images of that shape, which starts at about the value `start`."""
        return HashGridImage(self, shape, start=start, generator=generator)


class HashGridImage(CoordinateImage):
    """The network that `HashGrid` describes, for one image shape."""

    def __init__(
        self,
        config: HashGrid,
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
        self.hashes = nn.ModuleList(HashedPlane(nodes, config.entries) for nodes in levels)
        self.tables = nn.ParameterList(
            INITIAL_STD
            * torch.randn(config.channels, min(config.entries, rows * columns), generator=generator)
            for rows, columns in levels
        )
        self.interpolation = PlaneInterpolation(shape, levels)
        self.weights, self.biases = draw_layers(
            config.channels * len(levels),
            config.width,
            config.depth,
            read_out_bias=config.link.inverse(start),
            generator=generator,
        )
        self.dropout_units = {f"tables.{level}": (0, 1) for level in range(len(levels))}
        self.step_factors = {
            name: READ_OUT_STEPS
            for name, _ in self.named_parameters()
            if not name.startswith("tables.")
        }
        self.prior_fan_in = layer_fan_in(self.weights)

    def forward(self) -> Float[Tensor, "rows columns"]:
        """Return the values at all pixel centres."""
        return self._read_out(self.interpolation(self._planes())).reshape(self.shape)

    def at(self, points: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Return the values at any coordinates (x, y)."""
        return self._read_out(self.interpolation.at(self._planes(), points))

    def _planes(self) -> list[Tensor]:
        return [look_up(table) for look_up, table in zip(self.hashes, self.tables, strict=True)]

    def _read_out(self, features: Float[Tensor, "features n"]) -> Float[Tensor, " n"]:
        layers = (self.weights, self.biases)
        return self._link.function(by_columns(features, layers, self._activation))
