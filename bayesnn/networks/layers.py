"""Linear layers that know the prior of their own parameters.

A layer with a prior has a method `own_prior_precision() -> dict[str, float]`: for each of its own
parameters, one over the variance of its zero-mean Gaussian prior. `bayesnn.networks.prior` collects
them; a layer of yours needs nothing more.
"""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bayesnn.checks import check_count, check_positive

FEW = 64  # points of which no layer's weights are scaled: traces of few points hold for more


@runtime_checkable
class HasPrior(Protocol):
    """A module that gives the prior precision of the parameters it owns itself."""

    def own_prior_precision(self) -> dict[str, float]:
        """Return one over the prior variance, by the name of the parameter in this module."""
        ...


class NTKLinear(nn.Module):
    """A linear layer in NTK parametrisation.

    y = weight_std/√in_features · x Wᵀ + bias_std · b, with all W, b ~ N(0, 1) under the prior
    (Jacot, Gabriel, Hongler, 2018, arXiv 1806.07572). The prior precision is 1 throughout.

    Args:
        in_features: size of the last dimension of x.
        out_features: size of the last dimension of y.
        weight_std: prior standard deviation of the weights, times √in_features.
        bias_std: prior standard deviation of the bias; 0 leaves the bias out.
        generator: source of the initial values; torch's default generator if None.

    Raises:
        ValueError: a size below 1, a weight_std that is not positive, a negative bias_std.

    Example:
        >>> layer = NTKLinear(3, 2, weight_std=1.5, bias_std=0.05)
        >>> layer(torch.zeros(5, 3)).shape
        torch.Size([5, 2])
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        weight_std: float = 1.5,
        bias_std: float = 0.05,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_features = check_count(in_features, "in_features")
        self.out_features = check_count(out_features, "out_features")
        self.weight_std = check_positive(weight_std, "weight_std")
        self.bias_std = 0.0 if bias_std == 0 else check_positive(bias_std, "bias_std")
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features)) if self.bias_std > 0 else None
        self.reset_parameters(generator=generator)

    def own_prior_precision(self) -> dict[str, float]:
        """Return 1 for each parameter."""
        return {name: 1.0 for name, _ in self.named_parameters(recurse=False)}

    def reset_parameters(self, *, generator: torch.Generator | None = None) -> None:
        """Draw the parameters anew from their prior."""
        draw_from_prior(self, self.own_prior_precision(), generator)

    def forward(self, x: Float[Tensor, "*batch in_features"]) -> Float[Tensor, "*batch out"]:
        """Return the layer's output, [..., out_features]."""
        scale = self.weight_std / math.sqrt(self.in_features)
        # not `*`, whose derivative in forward mode takes several times as long for numbers
        times = torch.ops.aten.mul.Scalar
        # the bias is scaled, not its broadcast: gradients are summed over points before the factor
        bias = None if self.bias is None else times(self.bias, self.bias_std)
        y: Tensor
        # in training the weights' factor goes to the smallest tensor; elsewhere to the result, so
        # that memory grows with the points alone and sizes may be symbols
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            if x.numel() > self.in_features * max(FEW, self.in_features, self.out_features):
                y = nn.functional.linear(x, times(self.weight, scale), bias)
                return y
            if self.in_features < self.out_features:
                y = nn.functional.linear(times(x, scale), self.weight, bias)
                return y
        y = times(nn.functional.linear(x, self.weight), scale)
        return y if bias is None else y + bias

    def extra_repr(self) -> str:
        """Return the settings for `repr`."""
        return _settings(self)


class StandardLinear(nn.Module):
    """A linear layer in standard parametrisation: the same functions and prior as `NTKLinear`.

    y = x Wᵀ + b, with W ~ N(0, weight_std²/in_features) and b ~ N(0, bias_std²) under the prior,
    so the prior precisions are in_features/weight_std² and 1/bias_std².

    Args:
        in_features: size of the last dimension of x.
        out_features: size of the last dimension of y.
        weight_std: prior standard deviation of the weights, times √in_features.
        bias_std: prior standard deviation of the bias; 0 leaves the bias out.
        generator: source of the initial values; torch's default generator if None.

    Raises:
        ValueError: a size below 1, a weight_std that is not positive, a negative bias_std.

    Example:
        >>> StandardLinear(4, 2, weight_std=2.0, bias_std=0.5).own_prior_precision()
        {'weight': 1.0, 'bias': 4.0}
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        weight_std: float = 1.5,
        bias_std: float = 0.05,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_features = check_count(in_features, "in_features")
        self.out_features = check_count(out_features, "out_features")
        self.weight_std = check_positive(weight_std, "weight_std")
        self.bias_std = 0.0 if bias_std == 0 else check_positive(bias_std, "bias_std")
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features)) if self.bias_std > 0 else None
        self.reset_parameters(generator=generator)

    def own_prior_precision(self) -> dict[str, float]:
        """Return in_features/weight_std² for the weight and 1/bias_std² for the bias."""
        precision = {"weight": self.in_features / self.weight_std**2}
        if self.bias is not None:
            precision["bias"] = 1.0 / self.bias_std**2
        return precision

    def reset_parameters(self, *, generator: torch.Generator | None = None) -> None:
        """Draw the parameters anew from their prior."""
        draw_from_prior(self, self.own_prior_precision(), generator)

    def forward(self, x: Float[Tensor, "*batch in_features"]) -> Float[Tensor, "*batch out"]:
        """Return the layer's output, [..., out_features]."""
        return nn.functional.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the settings for `repr`."""
        return _settings(self)


def draw_from_prior(
    module: nn.Module, precision: dict[str, float], generator: torch.Generator | None
) -> None:
    """Give a layer's own parameters values from N(0, 1/precision)."""
    with torch.no_grad():
        for name, parameter in module.named_parameters(recurse=False):
            # drawn on the CPU, so that every device starts from the same values
            draw = torch.randn(parameter.shape, dtype=torch.float64, generator=generator)
            parameter.copy_(draw / math.sqrt(precision[name]))


def _settings(layer: NTKLinear | StandardLinear) -> str:
    return (
        f"in_features={layer.in_features}, out_features={layer.out_features}, "
        f"weight_std={layer.weight_std}, bias_std={layer.bias_std}"
    )
