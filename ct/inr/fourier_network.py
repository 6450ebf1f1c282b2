"""An image as a multi-layer perceptron behind random Fourier features: the published network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bayesnn.checks import check_count, check_positive
from bayesnn.networks import FourierFeatures
from ct.inr.coordinates import CoordinateImage, pixel_coordinates
from ct.inr.links import Link, identity
from ct.inr.perceptron import by_rows, draw_layers, layer_fan_in
from ct.inr.plain_settings import plain_settings
from ct.problem import Setting

_STEPS = 0.05  # all pixels share every weight: steps that suit a grid of features diverge


@dataclass(frozen=True, kw_only=True)
class FourierNetwork:
    """UncertaINR's network: f(x) = link(MLP([sin(Bx + π/4), cos(Bx + π/4)])), B ~ N(0, Ω₀²).

    With dropout the inputs of every layer but the first are units, and one mask holds for the
    whole image: each draw is a function. (The published code draws a mask for each pixel, so
    that errors of its samples are independent from pixel to pixel.)

    Attributes:
        n_frequencies: rows of B, which is drawn once and not trained.
        frequency_std: Ω₀, in radians per half the image's longer side.
        width: units of each hidden layer.
        depth: number of hidden layers.
        activation: of the hidden layers, applied value by value.
        link: applied to the output, such as `ct.inr.links.sigmoid`.

    Raises:
        ValueError: a count below 1, or a frequency_std that is not positive.

    Source:
        F. Vasconcelos, B. He, N. Singh, Y. W. Teh, UncertaINR, TMLR 2023, arXiv 2202.10847. Its
        link is the sigmoid, for images in [0, 1].

    Example:
        >>> network = FourierNetwork(n_frequencies=8, width=16, depth=2)
        >>> image = network.build((24, 32), generator=torch.Generator().manual_seed(0))
        >>> image().shape, image.at(torch.zeros(5, 2)).shape
        (torch.Size([24, 32]), torch.Size([5]))
    """

    n_frequencies: int = 363
    frequency_std: float = 40.0
    width: int = 280
    depth: int = 6
    activation: Callable[[Tensor], Tensor] = nn.functional.silu
    link: Link = identity

    def __post_init__(self) -> None:
        check_positive(self.frequency_std, "frequency_std")
        for name in ("n_frequencies", "width", "depth"):
            check_count(getattr(self, name), name)

    @property
    def name(self) -> str:
        """The metadata's spelling."""
        return "fourier"

    def settings(self) -> dict[str, Setting]:
        """Return every hyper-parameter by name."""
        return plain_settings(self)

    def build(
        self, shape: tuple[int, int], *, start: float = 0.5, generator: torch.Generator
    ) -> FourierImage:
        """Return a network for images of that shape, which starts at about the value `start`."""
        return FourierImage(self, shape, start=start, generator=generator)


class FourierImage(CoordinateImage):
    """The network that `FourierNetwork` describes, for one image shape."""

    def __init__(
        self,
        config: FourierNetwork,
        shape: tuple[int, int],
        *,
        start: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.shape = shape
        self._activation = config.activation
        self._link = config.link
        self.encoding = FourierFeatures(
            2, config.n_frequencies, frequency_std=config.frequency_std, generator=generator
        )
        points = pixel_coordinates(shape).reshape(-1, 2)
        self.register_buffer("pixels", points, persistent=False)
        self.weights, self.biases = draw_layers(
            self.encoding.out_features,
            config.width,
            config.depth,
            read_out_bias=config.link.inverse(start),
            generator=generator,
        )
        self.dropout_units = {f"weights.{layer}": (1,) for layer in range(1, config.depth + 1)}
        self.step_factors = {name: _STEPS for name, _ in self.named_parameters()}
        self.prior_fan_in = layer_fan_in(self.weights)

    def forward(self) -> Float[Tensor, "rows columns"]:
        """Return the values at all pixel centres."""
        points = self.get_buffer("pixels").to(self.encoding.frequencies)
        return self.at(points).reshape(self.shape)

    def at(self, points: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Return the values at any coordinates (x, y)."""
        layers = (self.weights, self.biases)
        return self._link.function(by_rows(self.encoding(points), layers, self._activation))
