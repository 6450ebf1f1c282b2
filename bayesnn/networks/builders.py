"""Networks built from layers that know their prior."""

from __future__ import annotations

import copy
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from bayesnn.checks import check_count
from bayesnn.networks.layers import NTKLinear


@runtime_checkable
class LinearLayer(Protocol):
    """What `mlp` needs of a layer class: `NTKLinear`, `StandardLinear`, or one like them."""

    def __call__(
        self,
        in_features: int,
        out_features: int,
        *,
        weight_std: float,
        bias_std: float,
        generator: torch.Generator | None,
    ) -> nn.Module:
        """Return a layer from in_features to out_features with a prior of its own."""
        ...


def mlp(
    *,
    in_features: int,
    out_features: int,
    width: int,
    depth: int,
    activation: nn.Module,
    weight_std: float = 1.5,
    bias_std: float = 0.05,
    linear: LinearLayer = NTKLinear,
    generator: torch.Generator | None = None,
) -> nn.Sequential:
    """Return a multi-layer perceptron: `depth` times (linear, activation), then a linear read-out.

    Args:
        in_features: size of an input x, [..., in_features].
        out_features: size of an output, [..., out_features].
        width: units of each hidden layer.
        depth: number of hidden layers; 0 gives a linear model.
        activation: a module without parameters, such as `Erf()` or `torch.nn.ReLU()`; copied.
        weight_std: prior standard deviation of all weights, times √fan_in.
        bias_std: prior standard deviation of all biases; 0 leaves them out.
        linear: class of the linear layers.
        generator: source of the initial values; torch's default generator if None.

    Returns:
        The network, its parameters drawn from their prior.

    Raises:
        ValueError: a size that is no whole number of at least 1 (0 for depth), an activation
            that is no module instance, or an impossible weight_std or bias_std.

    Example:
        >>> from bayesnn.networks import Erf
        >>> net = mlp(in_features=8, out_features=1, width=32, depth=2, activation=Erf())
        >>> net(torch.zeros(5, 8)).shape
        torch.Size([5, 1])
    """
    check_count(width, "width")
    check_count(depth, "depth", minimum=0)
    if not isinstance(activation, nn.Module):
        raise ValueError(
            f"activation: expected an instance of a torch.nn.Module, got {activation!r}; "
            "write for instance activation=Erf()."
        )
    layers: list[nn.Module] = []
    fan_in = in_features
    for _ in range(depth):
        layers += [
            linear(fan_in, width, weight_std=weight_std, bias_std=bias_std, generator=generator),
            copy.deepcopy(activation),
        ]
        fan_in = width
    layers.append(
        linear(fan_in, out_features, weight_std=weight_std, bias_std=bias_std, generator=generator)
    )
    return nn.Sequential(*layers)
