"""An image as a network whose prior is known: Fourier features, NTK parametrisation, linear end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bayesnn.checks import check_count, check_positive
from bayesnn.networks import FourierFeatures, mlp
from ct.inr.coordinates import CoordinateImage, pixel_coordinates
from ct.inr.links import Link, identity
from ct.inr.plain_settings import plain_settings
from ct.posterior.infinite_width_network import activation_module
from ct.problem import Setting


@dataclass(frozen=True, kw_only=True)
class WideNetwork:
    """A Fourier-feature network that starts as a draw from its prior, of any width alike.

    f(x) = link(start + MLP(γ(x))) with γ(x) = [sin(Bx + π/4), cos(Bx + π/4)], B ~ N(0, Ω₀²), and an
    MLP in NTK parametrisation: every parameter has the prior N(0, 1). As the width grows the image
    tends to a Gaussian process whose covariances `bayesnn.kernels.nngp` (at the start) and `ntk`
    (trained) give for its `body`. An activation that is odd, as erf is, leaves points far apart
    nearly uncorrelated.

    Attributes:
        n_frequencies: rows of B, which is drawn once and not trained.
        frequency_std: Ω₀, in radians per half the image's longer side.
        width: units of each hidden layer.
        depth: number of hidden layers.
        weight_std: prior standard deviation of all weights, times √fan_in.
        bias_std: prior standard deviation of all biases.
        activation: of the hidden layers; one whose kernels are known, such as `torch.tanh`.
        link: applied to the output, such as `ct.inr.links.sigmoid`.

    Raises:
        ValueError: a count below 1, or a size that is not positive.

    Source:
        A. Jacot, F. Gabriel, C. Hongler, Neural tangent kernel, NeurIPS 2018, arXiv 1806.07572.

    Example:
        >>> network = WideNetwork(n_frequencies=8, width=16)
        >>> image = network.build((24, 32), generator=torch.Generator().manual_seed(0))
        >>> image().shape, image.at(torch.zeros(5, 2)).shape
        (torch.Size([24, 32]), torch.Size([5]))
    """

    n_frequencies: int = 363
    frequency_std: float = 20.0
    width: int = 512
    depth: int = 2
    weight_std: float = 1.5
    bias_std: float = 0.05
    activation: Callable[[Tensor], Tensor] = torch.erf
    link: Link = identity

    def __post_init__(self) -> None:
        for name in ("n_frequencies", "width", "depth"):
            check_count(getattr(self, name), name)
        for name in ("frequency_std", "weight_std", "bias_std"):
            check_positive(getattr(self, name), name)

    @property
    def name(self) -> str:
        """The metadata's spelling."""
        return "wide"

    def settings(self) -> dict[str, Setting]:
        """Return every hyper-parameter by name."""
        return plain_settings(self)

    def build(
        self, shape: tuple[int, int], *, start: float = 0.5, generator: torch.Generator
    ) -> WideImage:
        """Return a network for images of that shape, spread about the value `start`."""
        return WideImage(self, shape, start=start, generator=generator)


class WideImage(CoordinateImage):
    """The network that `WideNetwork` describes, for one image shape.

    Attributes:
        body: γ and the MLP, from points [n, 2] to [n, 1]; its layers know their prior.
        start: what is added to its output, before the link.
    """

    def __init__(
        self,
        config: WideNetwork,
        shape: tuple[int, int],
        *,
        start: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.shape = shape
        self._link = config.link
        self.start = config.link.inverse(start)
        features = FourierFeatures(
            2, config.n_frequencies, frequency_std=config.frequency_std, generator=generator
        )
        layers = mlp(
            in_features=features.out_features,
            out_features=1,
            width=config.width,
            depth=config.depth,
            activation=activation_module(config.activation),
            weight_std=config.weight_std,
            bias_std=config.bias_std,
            generator=generator,
        )
        self.body = nn.Sequential(features, *layers)
        self.register_buffer("pixels", pixel_coordinates(shape).reshape(-1, 2), persistent=False)
        self.dropout_units = {
            f"body.{place}.weight": (1,)
            for place, layer in enumerate(self.body)
            if place > 1 and hasattr(layer, "weight")
        }
        self.step_factors = {}
        self.prior_fan_in = {}  # layers divide by √fan_in themselves

    def forward(self) -> Float[Tensor, "rows columns"]:
        """Return the values at all pixel centres."""
        return self.at(self.points).reshape(self.shape)

    def at(self, points: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Return the values at any coordinates (x, y)."""
        outputs: Tensor = self.body(points)
        return self._link.function(self.start + outputs[:, 0])

    @property
    def points(self) -> Float[Tensor, "pixels 2"]:
        """Coordinates (x, y) of all pixel centres, in the network's dtype."""
        return self.get_buffer("pixels").to(next(self.parameters()))
