"""Networks built from layers that know their prior."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from bayesnn.checks import check_count
from bayesnn.networks.branch_scalings import uniform_scaling
from bayesnn.networks.convolution import NTKConv2d
from bayesnn.networks.layers import NTKLinear
from bayesnn.networks.residual import Residual


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
    _check_activation(activation)
    layers: list[nn.Module] = []
    fan_in = in_features
    for _ in range(depth):
        layers += [
            linear(fan_in, width, weight_std=weight_std, bias_std=bias_std, generator=generator),
            _copied(activation),
        ]
        fan_in = width
    layers.append(
        linear(fan_in, out_features, weight_std=weight_std, bias_std=bias_std, generator=generator)
    )
    return nn.Sequential(*layers)


def resnet(
    *,
    in_features: int,
    out_features: int,
    width: int,
    depth: int,
    activation: nn.Module,
    weight_std: float = 1.5,
    bias_std: float = 0.05,
    scaling: Callable[[int, int], float] = uniform_scaling,
    linear: LinearLayer = NTKLinear,
    generator: torch.Generator | None = None,
) -> nn.Sequential:
    """Return a residual perceptron: linear, `depth` residual blocks, activation, linear read-out.

    Block l maps y_{l−1} to y_{l−1} + λ_l F_l(y_{l−1}) with F_l = linear ∘ activation. The default
    λ = 1/√depth and `decreasing_scaling` keep the variance bounded at any depth (Stable ResNet;
    Hayou et al., 2021, arXiv 2010.12859); `standard_scaling` is λ = 1.

    Args:
        in_features: size of an input x, [..., in_features].
        out_features: size of an output, [..., out_features].
        width: units of each hidden layer.
        depth: number of residual blocks.
        activation: a module without parameters, such as `Erf()` or `torch.nn.ReLU()`; copied.
        weight_std: prior standard deviation of all weights, times √fan_in.
        bias_std: prior standard deviation of all biases; 0 leaves them out.
        scaling: λ of block l = 1 … depth, as a function of l and depth.
        linear: class of the linear layers.
        generator: source of the initial values; torch's default generator if None.

    Returns:
        The network, its parameters drawn from their prior.

    Raises:
        ValueError: a size that is no whole number of at least 1, an activation that is no module
            instance, an impossible weight_std or bias_std, or a λ that is not positive.

    Example:
        >>> net = resnet(in_features=8, out_features=1, width=32, depth=3, activation=nn.ReLU())
        >>> net(torch.zeros(5, 8)).shape
        torch.Size([5, 1])
    """
    check_count(width, "width")
    check_count(depth, "depth")
    _check_activation(activation)

    def layer(fan_in: int, fan_out: int) -> nn.Module:
        return linear(
            fan_in, fan_out, weight_std=weight_std, bias_std=bias_std, generator=generator
        )

    layers: list[nn.Module] = [layer(in_features, width)]
    for block in range(1, depth + 1):
        branch = nn.Sequential(_copied(activation), layer(width, width))
        layers.append(Residual(branch, scale=scaling(block, depth)))
    return nn.Sequential(*layers, _copied(activation), layer(width, out_features))


def convnet(
    *,
    in_channels: int,
    out_features: int,
    width: int,
    depth: int,
    activation: nn.Module,
    kernel_size: int = 3,
    stride: int = 1,
    weight_std: float = 1.5,
    bias_std: float = 0.05,
    generator: torch.Generator | None = None,
) -> nn.Sequential:
    """Return a convolutional network for images of any size.

    `depth` times (convolution, activation), then the mean over all pixels and a linear read-out.

    Args:
        in_channels: channels of an image x, [n, in_channels, height, width].
        out_features: size of an output, [n, out_features].
        width: channels of each hidden layer.
        depth: number of convolutions.
        activation: a module without parameters, such as `Erf()` or `torch.nn.ReLU()`; copied.
        kernel_size: side of the kernels, odd; images are padded by zeros to keep their size.
        stride: of each convolution; 2 halves the image's sides in each layer.
        weight_std: prior standard deviation of all weights, times √fan_in.
        bias_std: prior standard deviation of all biases; 0 leaves them out.
        generator: source of the initial values; torch's default generator if None.

    Returns:
        The network, its parameters drawn from their prior.

    Raises:
        ValueError: a size that is no whole number of at least 1, an even kernel_size, an
            activation that is no module instance, or an impossible weight_std or bias_std.

    Example:
        >>> net = convnet(in_channels=1, out_features=10, width=8, depth=2, activation=nn.ReLU())
        >>> net(torch.zeros(5, 1, 28, 28)).shape
        torch.Size([5, 10])
    """
    check_count(width, "width")
    check_count(depth, "depth")
    if check_count(kernel_size, "kernel_size") % 2 == 0:
        raise ValueError(f"kernel_size: expected an odd number, got {kernel_size}.")
    _check_activation(activation)
    layers: list[nn.Module] = []
    fan_in = in_channels
    for _ in range(depth):
        convolution = NTKConv2d(
            fan_in,
            width,
            kernel_size=kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            weight_std=weight_std,
            bias_std=bias_std,
            generator=generator,
        )
        layers += [convolution, _copied(activation)]
        fan_in = width
    readout = NTKLinear(
        fan_in, out_features, weight_std=weight_std, bias_std=bias_std, generator=generator
    )
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), readout)


def _copied(activation: nn.Module) -> nn.Module:
    return copy.deepcopy(activation)


def _check_activation(activation: object) -> None:
    if not isinstance(activation, nn.Module):
        raise ValueError(
            f"activation: expected an instance of a torch.nn.Module, got {activation!r}; "
            "write for instance activation=Erf()."
        )
