"""The covariance of an infinitely wide network behind Fourier features, by the distance of points.

Fourier features of two points have an inner product that depends on their offset alone, so what an
MLP with a linear output makes of it is a function κ(ρ) of the features' correlation ρ.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from jaxtyping import Float64
from scipy.interpolate import CubicSpline
from torch import Tensor, nn

from bayesnn.checks import check_count, check_positive
from bayesnn.kernels import NetworkKernel, nngp, ntk
from bayesnn.networks import Erf, mlp
from ct.inr.plain_settings import plain_settings
from ct.problem import Setting

KernelOf = Callable[[nn.Module], NetworkKernel]
"""`bayesnn.kernels.nngp` or `bayesnn.kernels.ntk`."""

Activation = nn.Module | Callable[[Tensor], Tensor]
"""A module, or one of the functions in `ACTIVATIONS`."""

ACTIVATIONS: dict[Callable[[Tensor], Tensor], nn.Module] = {
    nn.functional.silu: nn.SiLU(),
    nn.functional.relu: nn.ReLU(),
    nn.functional.gelu: nn.GELU(),
    torch.tanh: nn.Tanh(),
    torch.erf: Erf(),
}
_NODES = 512  # of the angle; a cubic spline's error falls as its fourth power


@dataclass(frozen=True, kw_only=True)
class InfiniteNetwork:
    """κ: from the correlation ρ of two points' Fourier features to the covariance of the outputs.

    Attributes:
        kernel: `nngp` for the network at initialisation, `ntk` for one that is trained.
        depth: number of hidden layers.
        activation: of the hidden layers.
        weight_std: prior standard deviation of all weights, times √fan_in.
        bias_std: prior standard deviation of all biases.

    Raises:
        ValueError: a setting outside its range, or outputs that do not depend on the input.

    Example:
        >>> network = InfiniteNetwork(depth=1, activation=nn.functional.relu, bias_std=0.0)
        >>> round(network.variance / network.constant, 3)  # π of ReLU's arc-cosine kernel
        3.142
    """

    kernel: KernelOf = nngp
    depth: int = 6
    activation: Activation = nn.functional.silu
    weight_std: float = 1.5
    bias_std: float = 0.05

    def __post_init__(self) -> None:
        check_count(self.depth, "depth", minimum=0)
        check_positive(self.weight_std, "weight_std")
        activation_module(self.activation)
        if self.kernel not in {nngp, ntk}:
            raise ValueError(
                "kernel: expected bayesnn.kernels.ntk or bayesnn.kernels.nngp, got "
                f"{self.kernel!r}."
            )

    @property
    def constant(self) -> float:
        """κ(0): the covariance of points so far apart that their features are uncorrelated."""
        return float(self._spline(math.pi / 2))

    @property
    def variance(self) -> float:
        """κ(1): the variance of an output."""
        return float(self._spline(0.0))

    @property
    def spread(self) -> float:
        """√(κ(1) − κ(0)): standard deviation of an output around the level of all outputs."""
        return math.sqrt(max(self.variance - self.constant, 0.0))

    def settings(self) -> dict[str, Setting]:
        """Return every hyper-parameter by name."""
        return plain_settings(self)

    def correlation(self, angle: Float64[Tensor, "*points"]) -> Float64[Tensor, "*points"]:
        """Return (κ(cos angle) − κ(0))/(κ(1) − κ(0)): what is left of κ around the level."""
        return (self.covariance(angle) - self.constant) / self.spread**2

    def radial(self, distance: Float64[Tensor, "*points"]) -> Float64[Tensor, "*points"]:
        """Return the correlation at a distance in units of 1/Ω₀, for infinitely many features."""
        return self.correlation(angle_of_limit(distance.square(), 1.0))

    def covariance(self, angle: Float64[Tensor, "*points"]) -> Float64[Tensor, "*points"]:
        """Return κ(cos angle); angles keep what correlations near 1 lose to rounding."""
        return torch.from_numpy(self._spline(angle.cpu().numpy())).to(angle)

    @cached_property
    def _spline(self) -> CubicSpline:
        module = activation_module(self.activation)
        return _table(self.kernel, self.depth, module, self.weight_std, self.bias_std)


def activation_module(activation: Activation) -> nn.Module:
    """Return the module of an activation.

    Raises:
        ValueError: neither a module nor a function that has one.
    """
    if isinstance(activation, nn.Module):
        return activation
    found = ACTIVATIONS.get(activation)
    if found is None:
        names = ", ".join(function.__name__ for function in ACTIVATIONS)
        raise ValueError(
            f"activation: expected a torch.nn.Module or one of the functions {names}, got "
            f"{activation!r}."
        )
    return found


@lru_cache(maxsize=16)
def _table(
    kernel: KernelOf, depth: int, activation: nn.Module, weight_std: float, bias_std: float
) -> CubicSpline:
    """Return κ(cos t) as a function of t, which is smooth where κ(ρ) itself has a cusp at ρ = 1."""
    network = mlp(
        in_features=2,
        out_features=1,
        width=1,
        depth=depth,
        activation=activation,
        weight_std=weight_std,
        bias_std=bias_std,
        generator=torch.Generator().manual_seed(0),  # its weights have no influence
    )
    angle = torch.linspace(0, math.pi, _NODES + 1, dtype=torch.float64)
    # two features of mean square ½, as sines and cosines have, at each angle to the first
    points = torch.stack([angle.cos(), angle.sin()], dim=1)
    values = kernel(network)(points[:1], points)[0]
    return CubicSpline(angle.numpy(), values.numpy())


def angle_of_limit(
    squared_distance: Float64[Tensor, "*points"], frequency_std: float
) -> Float64[Tensor, "*points"]:
    """Return arccos ρ of infinitely many frequencies, ρ = exp(−Ω₀² |x − x'|² / 2).

    Args:
        squared_distance: |x − x'|².
        frequency_std: Ω₀, in radians per unit of x.
    """
    below = -torch.expm1(-(frequency_std**2) / 2 * squared_distance)  # 1 − ρ without cancellation
    return 2 * (below / 2).sqrt().clamp(max=1.0).asin()


def angle_of_frequencies(
    y: Float64[Tensor, "rows 1"],
    x: Float64[Tensor, "1 columns"],
    frequencies: Float64[Tensor, "n 2"],
) -> Float64[Tensor, "rows columns"]:
    """Return arccos ρ of the frequencies b_i at offsets (x, y), ρ = mean_i cos(b_i · (x, y)).

    Args:
        y: offsets upwards.
        x: offsets to the right.
        frequencies: B, in radians per unit of the offsets.
    """
    right, up = x.mT * frequencies[:, 0], y * frequencies[:, 1]
    mean = (up.cos() @ right.cos().mT - up.sin() @ right.sin().mT) / len(frequencies)
    return mean.clamp(-1.0, 1.0).acos()
