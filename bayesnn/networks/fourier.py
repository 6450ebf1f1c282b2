"""Random Fourier features of coordinates."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bayesnn.checks import check_count, check_positive


class FourierFeatures(nn.Module):
    """Random Fourier features γ(x) = [sin(Bx + π/4), cos(Bx + π/4)] with fixed B ~ N(0, Ω₀²).

    There is no factor 2π. B is the buffer `frequencies` and is not trained. The inner product
    γ(x)·γ(x') = Σ_i cos(b_i·(x − x')) depends on x − x' only. Source: Tancik et al., 2020, arXiv
    2006.10739; in this form Vasconcelos et al., 2023, arXiv 2202.10847.

    Args:
        in_features: number of coordinates.
        n_frequencies: number of rows of B; the output has twice as many features.
        frequency_std: Ω₀, in radians per unit of x.
        generator: source of B; torch's default generator if None.

    Raises:
        ValueError: a count below 1, or a frequency_std that is not positive.

    Example:
        >>> features = FourierFeatures(2, 363, frequency_std=40.0)
        >>> features(torch.zeros(5, 2)).shape
        torch.Size([5, 726])
    """

    frequencies: Tensor

    def __init__(
        self,
        in_features: int,
        n_frequencies: int,
        *,
        frequency_std: float,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_features = check_count(in_features, "in_features")
        self.n_frequencies = check_count(n_frequencies, "n_frequencies")
        self.frequency_std = check_positive(frequency_std, "frequency_std")
        draw = torch.randn(n_frequencies, in_features, dtype=torch.float64, generator=generator)
        self.register_buffer(
            "frequencies", (self.frequency_std * draw).to(torch.get_default_dtype())
        )

    @property
    def out_features(self) -> int:
        """Number of features: 2 · n_frequencies."""
        return 2 * self.n_frequencies

    def forward(self, x: Float[Tensor, "*batch in_features"]) -> Float[Tensor, "*batch out"]:
        """Return γ(x), [..., 2 · n_frequencies]: all sines, then all cosines."""
        phase = nn.functional.linear(x, self.frequencies) + math.pi / 4
        return torch.cat((torch.sin(phase), torch.cos(phase)), dim=-1)

    def extra_repr(self) -> str:
        """Return the settings for `repr`."""
        return (
            f"in_features={self.in_features}, n_frequencies={self.n_frequencies}, "
            f"frequency_std={self.frequency_std}"
        )


class InfiniteFourierFeatures(nn.Module):
    """The limit of `FourierFeatures` as the number of frequencies goes to infinity.

    For the infinite-width kernels alone, which need no features but their covariances: the mean
    over features of γ(x)γ(x') tends to ½ exp(−Ω₀²|x − x'|²/2), with an error of the order of
    1/√n_frequencies. In a network it stands before the first layer, whose in_features do not
    matter to the kernels. Source: Rahimi, Recht, 2007, Random features for large-scale kernel
    machines.

    Args:
        in_features: number of coordinates.
        frequency_std: Ω₀, in radians per unit of x; a hyper-parameter of the kernel.

    Raises:
        ValueError: a count below 1, or a frequency_std that is not positive.

    Example:
        >>> from bayesnn.kernels import ntk
        >>> from bayesnn.networks import Erf, mlp
        >>> net = mlp(in_features=1, out_features=1, width=1, depth=2, activation=Erf())
        >>> kernel = ntk(nn.Sequential(InfiniteFourierFeatures(2, frequency_std=40.0), net))
        >>> kernel(torch.rand(3, 2)).shape
        torch.Size([3, 3])
    """

    def __init__(self, in_features: int, *, frequency_std: float) -> None:
        super().__init__()
        self.in_features = check_count(in_features, "in_features")
        self.frequency_std = check_positive(frequency_std, "frequency_std")

    def forward(self, x: Tensor) -> Tensor:  # noqa: ARG002
        """Raise an error: the features are infinitely many."""
        raise ValueError(
            "network: InfiniteFourierFeatures has kernels but no values; for a network that runs, "
            f"draw FourierFeatures({self.in_features}, n, frequency_std={self.frequency_std})."
        )

    def extra_repr(self) -> str:
        """Return the settings for `repr`."""
        return f"in_features={self.in_features}, frequency_std={self.frequency_std}"
