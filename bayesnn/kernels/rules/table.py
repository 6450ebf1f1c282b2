"""Which rule is whose: looked up by the layer's type.

A module of yours that has a method `propagate_kernel(state, hyperparameters) -> KernelState` needs
no entry here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from torch import nn

from bayesnn.kernels import activations
from bayesnn.kernels.quadrature import quadrature
from bayesnn.kernels.rules.attention import attention_rule, token_mean_rule
from bayesnn.kernels.rules.convolution import (
    convolution_rule,
    flatten_rule,
    global_pooling_rule,
    pooling_rule,
)
from bayesnn.kernels.rules.dense import dense_rule
from bayesnn.kernels.rules.elementwise import elementwise_rule
from bayesnn.kernels.rules.normalisation import layer_norm_rule
from bayesnn.kernels.rules.rule import Hyperparameters, Rule
from bayesnn.kernels.state import KernelState
from bayesnn.networks import (
    AttentionMixing,
    Cosine,
    Erf,
    NTKConv2d,
    NTKLinear,
    Sine,
    StandardLinear,
    TokenMean,
)


@runtime_checkable
class HasKernelRule(Protocol):
    """A module that knows what it does to the kernels."""

    def propagate_kernel(self, state: KernelState, hyperparameters: Hyperparameters) -> KernelState:
        """Return the state after the module."""
        ...


def _gelu(module: nn.GELU) -> Rule:
    exact = module.approximate == "none"
    return elementwise_rule(activations.gelu if exact else quadrature(module))


def _flatten(module: nn.Flatten) -> Rule:
    if (module.start_dim, module.end_dim) != (1, -1):
        raise ValueError("network: Flatten has a kernel rule for start_dim=1, end_dim=-1 alone.")
    return flatten_rule


def _unchanged(state: KernelState, _: Hyperparameters) -> KernelState:
    return state


_RULES: dict[type[nn.Module], Callable[[Any], Rule]] = {
    NTKLinear: dense_rule,
    StandardLinear: dense_rule,
    NTKConv2d: convolution_rule,
    Erf: lambda _: elementwise_rule(activations.erf),
    Sine: lambda m: elementwise_rule(activations.sine(m.frequency)),
    Cosine: lambda m: elementwise_rule(activations.cosine(m.frequency)),
    nn.ReLU: lambda _: elementwise_rule(activations.relu),
    nn.LeakyReLU: lambda m: elementwise_rule(activations.leaky_relu(m.negative_slope)),
    nn.GELU: _gelu,
    nn.Identity: lambda _: _unchanged,
    nn.Flatten: _flatten,
    nn.AvgPool2d: pooling_rule,
    nn.AdaptiveAvgPool2d: global_pooling_rule,
    AttentionMixing: attention_rule,
    TokenMean: lambda _: token_mean_rule,
    nn.LayerNorm: layer_norm_rule,
}
_SMOOTH = (
    nn.CELU, nn.ELU, nn.Hardswish, nn.Mish, nn.ReLU6, nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softplus,
    nn.Softsign, nn.Tanh,
)  # fmt: skip


def rule_of(module: nn.Module) -> Rule | None:
    """Return the rule of a module that is no container; None for one that has none."""
    if isinstance(module, HasKernelRule):
        return module.propagate_kernel
    if type(module) in _RULES:
        return _RULES[type(module)](module)
    if type(module) in _SMOOTH:
        return elementwise_rule(quadrature(module))
    return None


def hyperparameters_of(module: nn.Module) -> dict[str, float]:
    """Return the prior scales of a layer, by name."""
    names = ("weight_std", "bias_std", "frequency_std")
    return {name: float(getattr(module, name)) for name in names if hasattr(module, name)}
