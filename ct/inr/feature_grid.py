"""An image as a multi-resolution grid of features behind a small network."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bayesnn.checks import check_count
from ct.inr.coordinates import READ_OUT_SCALE, CoordinateImage
from ct.inr.interpolation import interpolate_at, interpolation_matrix
from ct.inr.links import Link, identity
from ct.problem import Setting

_INITIAL_STD = 0.1  # of features: small beside what training makes of them
_READ_OUT_STEPS = 0.3  # all pixels share the perceptron, so it bears smaller steps than features


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
        return {
            **vars(self),
            "activation": getattr(self.activation, "__name__", repr(self.activation)),
            "link": self.link.name,
        }

    def levels(self, side: int) -> list[int]:
        """Return the numbers of nodes along a longer side of so many pixels.

        Example:
            >>> FeatureGrid().levels(128), FeatureGrid().levels(100), FeatureGrid().levels(8)
            ([16, 32, 64, 128], [16, 32, 64, 100], [8])
        """
        finest = max(2, min(self.finest, side))
        n_coarser = math.ceil(math.log2(max(finest / self.coarsest, 1)))
        return [self.coarsest << level for level in range(n_coarser)] + [finest]

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
        self.planes = nn.ParameterList()
        for level, nodes in enumerate(config.levels(max(shape))):
            # about square cells; two nodes at least, one at each edge
            rows, columns = (max(2, round(nodes * n / max(shape))) for n in shape)
            draw = torch.randn(config.channels, rows, columns, generator=generator)
            self.planes.append(nn.Parameter(_INITIAL_STD * draw))
            for axis, n_nodes, n_pixels in (
                ("rows", rows, shape[0]),
                ("columns", columns, shape[1]),
            ):
                matrix = interpolation_matrix(n_nodes, n_pixels).to(draw.dtype)
                self.register_buffer(f"{axis}_{level}", matrix, persistent=False)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        fan_in = config.channels * len(self.planes)
        for fan_out in [config.width] * config.depth + [1]:
            draw = torch.randn(fan_out, fan_in, generator=generator)
            self.weights.append(nn.Parameter(draw * math.sqrt(2 / fan_in)))
            self.biases.append(nn.Parameter(torch.zeros(fan_out, 1)))
            fan_in = fan_out
        with torch.no_grad():
            self.weights[-1] *= READ_OUT_SCALE
            self.biases[-1] += config.link.inverse(start)
        self.dropout_units = {f"planes.{level}": (0, 1, 2) for level in range(len(self.planes))}
        self.step_factors = {
            name: _READ_OUT_STEPS
            for name, _ in self.named_parameters()
            if not name.startswith("planes.")
        }
        self.prior_fan_in = {
            f"weights.{layer}": weight.shape[1] for layer, weight in enumerate(self.weights)
        }

    def forward(self) -> Float[Tensor, "rows columns"]:
        """Return the values at all pixel centres."""
        features = [
            (self.get_buffer(f"rows_{level}") @ plane @ self.get_buffer(f"columns_{level}").T)
            for level, plane in enumerate(self.planes)
        ]
        return self._read_out(torch.cat(features).flatten(1)).reshape(self.shape)

    def at(self, points: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Return the values at any coordinates (x, y)."""
        features = [interpolate_at(plane, points, self.shape) for plane in self.planes]
        return self._read_out(torch.cat(features))

    def _read_out(self, features: Float[Tensor, "features n"]) -> Float[Tensor, " n"]:
        # points lie along the last axis, so that nothing is transposed
        hidden = features
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if index > 0:
                hidden = self._activation(hidden)
            hidden = torch.addmm(bias, weight, hidden)
        return self._link.function(hidden[0])
