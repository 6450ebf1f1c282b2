"""An image as a perceptron with sines in it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bayesnn.checks import check_count, check_positive
from ct.inr.coordinates import CoordinateImage, pixel_coordinates
from ct.inr.links import Link, identity
from ct.inr.perceptron import by_rows, layer_fan_in
from ct.inr.plain_settings import plain_settings
from ct.problem import Setting

_STEPS = 0.01  # weights are of the order of 1/ω₀, and far steps turn the phases at random


@dataclass(frozen=True, kw_only=True)
class Siren:
    """SIREN: f(x) = link(W_L h_L + b_L), h_{l+1} = sin(ω₀ (W_l h_l + b_l)), h_0 = x.

    Weights of the first layer start uniformly within ±1/fan-in, all others within
    ±√(6/fan-in)/ω₀, biases within ±1/√fan-in: then every layer's phases ω₀(Wh + b) start with a
    variance of about one at any depth, and the image nearly flat. Dropout takes the inputs of
    every layer but the first, for the whole image at once.

    Attributes:
        frequency: ω₀; a larger one sees finer detail, and noise.
        width: units of each hidden layer.
        depth: number of hidden layers.
        link: applied to the output, such as `ct.inr.links.sigmoid`.

    Raises:
        ValueError: a count below 1, or a frequency that is not positive.

    Source:
        V. Sitzmann et al., Implicit neural representations with periodic activation functions,
        NeurIPS 2020.

    Example:
        >>> network = Siren(width=16, depth=2)
        >>> image = network.build((24, 32), generator=torch.Generator().manual_seed(0))
        >>> image().shape, image.at(torch.zeros(5, 2)).shape
        (torch.Size([24, 32]), torch.Size([5]))
    """

    frequency: float = 30.0
    width: int = 256
    depth: int = 4
    link: Link = identity

    def __post_init__(self) -> None:
        check_positive(self.frequency, "frequency")
        for name in ("width", "depth"):
            check_count(getattr(self, name), name)

    @property
    def name(self) -> str:
        """The metadata's spelling."""
        return "siren"

    def settings(self) -> dict[str, Setting]:
        """Return every hyper-parameter by name."""
        return plain_settings(self)

    def build(
        self, shape: tuple[int, int], *, start: float = 0.5, generator: torch.Generator
    ) -> SirenImage:
        """Return a network for images of that shape, which starts at about the value `start`."""
        return SirenImage(self, shape, start=start, generator=generator)


class SirenImage(CoordinateImage):
    """The network that `Siren` describes, for one image shape."""

    def __init__(
        self,
        config: Siren,
        shape: tuple[int, int],
        *,
        start: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.shape = shape
        self._frequency = config.frequency
        self._link = config.link
        points = pixel_coordinates(shape).reshape(-1, 2)
        self.register_buffer("pixels", points, persistent=False)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for fan_in, fan_out in pairwise([2, *[config.width] * config.depth, 1]):
            first = len(self.weights) == 0
            bound = 1 / fan_in if first else math.sqrt(6 / fan_in) / config.frequency
            self.weights.append(nn.Parameter(bound * _uniform(fan_out, fan_in, generator)))
            bias = _uniform(fan_out, 1, generator)[:, 0] / math.sqrt(fan_in)
            self.biases.append(nn.Parameter(bias))
        with torch.no_grad():
            self.biases[-1].fill_(config.link.inverse(start))
        self.dropout_units = {f"weights.{layer}": (1,) for layer in range(1, config.depth + 1)}
        self.step_factors = {name: _STEPS for name, _ in self.named_parameters()}
        self.prior_fan_in = layer_fan_in(self.weights)

    def forward(self) -> Float[Tensor, "rows columns"]:
        """Return the values at all pixel centres."""
        return self.at(self.get_buffer("pixels").to(self.weights[0])).reshape(self.shape)

    def at(self, points: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Return the values at any coordinates (x, y)."""
        layers = (self.weights, self.biases)
        return self._link.function(by_rows(points, layers, self._sine))

    def _sine(self, values: Tensor) -> Tensor:
        return torch.sin(self._frequency * values)


def _uniform(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    return 2 * torch.rand(rows, columns, generator=generator) - 1
