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
