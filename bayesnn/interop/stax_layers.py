"""Layers of ours as layers of neural-tangents' stax, with their parameters carried over both ways.

Images are [n, channels, rows, columns] here and [n, rows, columns, channels] there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bayesnn.interop.stax_positions import (
    channels_first_flatten,
    constant_attention,
    zeros_around,
)
from bayesnn.networks import (
    AttentionMixing,
    Cosine,
    Erf,
    NTKConv2d,
    NTKLinear,
    Residual,
    Sine,
    StandardLinear,
    TokenMean,
)

Linear = NTKLinear | StandardLinear | NTKConv2d
Params = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class StaxLayer:
    """One layer: its stax triple, and its parameters in either form.

    Attributes:
        triple: (init, apply, kernel).
        to_stax: from the whole network's parameters by name to this layer's in stax.
        from_stax: from this layer's parameters in stax to ours, by name.
    """

    triple: Any
    to_stax: Callable[[Params], Any]
    from_stax: Callable[[Any], dict[str, Tensor]]


def stax_sequence(stax: Any, network: nn.Module, name: str = "", scale: float = 1.0) -> StaxLayer:
    """Return a sequence of layers.

    Args:
        stax: neural_tangents.stax.
        network: the sequence, or a single layer.
        name: of the network in the whole one.
        scale: what the last layer, a linear one, is multiplied by.

    Raises:
        ValueError: a layer without a counterpart.
    """
    leaves = list(_leaves(network, name))
    layers = []
    for i, (key, module) in enumerate(leaves):
        own = scale if i == len(leaves) - 1 else 1.0
        if own != 1.0 and not isinstance(module, Linear):
            raise ValueError(
                f"network: a scaled residual branch has to end with a linear layer, got "
                f"{type(module).__name__}."
            )
        layers.append(_layer(stax, module, key, own))
    return StaxLayer(
        triple=stax.serial(*(layer.triple for layer in layers)),
        to_stax=lambda params: [layer.to_stax(params) for layer in layers],
        from_stax=lambda given: _merged(layers, given),
    )


def _merged(layers: list[StaxLayer], given: Any) -> dict[str, Tensor]:
    if len(given) != len(layers):
        raise ValueError(
            f"params: expected {len(layers)} layers as in the network, got {len(given)}."
        )
    result: dict[str, Tensor] = {}
    for layer, own in zip(layers, given, strict=True):
        result |= layer.from_stax(own)
    return result


def _layer(stax: Any, module: nn.Module, name: str, scale: float) -> StaxLayer:
    if isinstance(module, NTKConv2d):
        return _convolution(stax, module, name, scale)
    if isinstance(module, NTKLinear | StandardLinear):
        return _dense(stax, module, name, scale)
    if isinstance(module, Residual):
        branch = stax_sequence(stax, module.branch, _join(name, "branch"), module.scale)
        triple = stax.serial(
            stax.FanOut(2), stax.parallel(stax.Identity(), branch.triple), stax.FanInSum()
        )
        return StaxLayer(
            triple=triple,
            to_stax=lambda params: [(), [(), branch.to_stax(params)], ()],
            from_stax=lambda given: branch.from_stax(given[1][1]),
        )
    if isinstance(module, nn.AvgPool2d):
        return _average_pooling(stax, module)
    return _constant(_without_parameters(stax, module), ())


def _constant(triple: Any, params: Any) -> StaxLayer:
    """Return a layer without parameters, whose form in stax they have all the same."""
    return StaxLayer(triple=triple, to_stax=lambda _: params, from_stax=lambda _: {})


def _without_parameters(stax: Any, module: nn.Module) -> Any:
    if isinstance(module, nn.LeakyReLU):
        return stax.LeakyRelu(module.negative_slope)
    if isinstance(module, nn.GELU) and module.approximate == "none":
        return stax.Gelu()
    if isinstance(module, Sine | Cosine):
        return (stax.Sin if isinstance(module, Sine) else stax.Cos)(b=module.frequency)
    if isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in {1, (1, 1)}:
        return stax.GlobalAvgPool()
    if isinstance(module, AttentionMixing):
        return constant_attention(stax, module.weights.detach().cpu().double().numpy())
    if isinstance(module, nn.LayerNorm) and not list(module.parameters()):
        # images have their channels last there, so that a run of last dimensions is one here too
        axes = tuple(range(-len(module.normalized_shape), 0))
        return stax.LayerNorm(axis=axes, eps=module.eps)
    simple = {
        Erf: stax.Erf, nn.ReLU: stax.Relu, nn.Identity: stax.Identity,
        TokenMean: stax.GlobalAvgPool,
    }  # fmt: skip
    if type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
        return channels_first_flatten(stax)
    if type(module) not in simple:
        raise ValueError(f"network: neural-tangents has no counterpart of {type(module).__name__}.")
    return simple[type(module)]()


def _average_pooling(stax: Any, module: nn.AvgPool2d) -> StaxLayer:
    size, stride, padding = (
        _pair(each) for each in (module.kernel_size, module.stride, module.padding)
    )
    plain = module.count_include_pad and not module.ceil_mode and not module.divisor_override
    if not plain or padding[0] != padding[1]:
        raise ValueError(
            "network: average pooling has a counterpart with whole windows, one padding for rows "
            "and columns, and zeros that count."
        )
    around = zeros_around(stax, padding[0])
    return _constant(stax.serial(around, stax.AvgPool(size, stride)), [(), ()])


def _dense(stax: Any, module: NTKLinear | StandardLinear, name: str, scale: float) -> StaxLayer:
    return _linear(
        module,
        name,
        triple=stax.Dense(module.out_features, scale * module.weight_std, _bias_std(module, scale)),
        weight_to=lambda weight: weight.T,
        weight_from=lambda weight: weight.T,
        bias_shape=(1, -1),
    )


def _convolution(stax: Any, module: NTKConv2d, name: str, scale: float) -> StaxLayer:
    size, stride, padding = module.kernel_size, module.stride, module.padding
    same = stride == 1 and size == 2 * padding + 1
    layer = _linear(
        module,
        name,
        triple=stax.Conv(
            module.out_channels, (size, size), (stride, stride), "SAME" if same else "VALID",
            scale * module.weight_std, _bias_std(module, scale),
        ),
        weight_to=lambda weight: weight.permute(2, 3, 1, 0),
        weight_from=lambda weight: weight.permute(3, 2, 0, 1),
        bias_shape=(1, 1, 1, -1),
    )  # fmt: skip
    if same or padding == 0:
        return layer
    return StaxLayer(
        triple=stax.serial(zeros_around(stax, padding), layer.triple),
        to_stax=lambda params: [(), layer.to_stax(params)],
        from_stax=lambda given: layer.from_stax(given[1]),
    )


def _linear(
    module: Linear,
    name: str,
    *,
    triple: Any,
    weight_to: Callable[[Tensor], Tensor],
    weight_from: Callable[[Tensor], Tensor],
    bias_shape: tuple[int, ...],
) -> StaxLayer:
    precision = module.own_prior_precision()
    # one weight and one bias of standard normal size, in the layer's own parametrisation
    unit = {key: value**-0.5 for key, value in precision.items()}

    def to_stax(params: Params) -> Any:
        weight = params[_join(name, "weight")].detach().cpu().double() / unit["weight"]
        bias = None
        if module.bias is not None:
            own = params[_join(name, "bias")].detach().cpu().double() / unit["bias"]
            bias = own.reshape(bias_shape).numpy()
        return (weight_to(weight).contiguous().numpy(), bias)

    def from_stax(given: Any) -> dict[str, Tensor]:
        weight = weight_from(torch.tensor(np.array(given[0], dtype=np.float64))) * unit["weight"]
        if weight.shape != module.weight.shape:
            raise ValueError(
                f"params: expected a weight of shape {tuple(module.weight.shape)} for layer "
                f"{name!r}, got {tuple(weight.shape)}."
            )
        result = {_join(name, "weight"): weight.contiguous().to(module.weight)}
        if module.bias is not None:
            bias = torch.tensor(np.array(given[1], dtype=np.float64)).flatten() * unit["bias"]
            result[_join(name, "bias")] = bias.to(module.bias)
        return result

    return StaxLayer(triple=triple, to_stax=to_stax, from_stax=from_stax)


def _bias_std(module: Linear, scale: float) -> float | None:
    return None if module.bias is None else scale * module.bias_std


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _leaves(module: nn.Module, name: str) -> list[tuple[str, nn.Module]]:
    if type(module) is not nn.Sequential:
        return [(name, module)]
    # not named_children, which leaves out a module's second appearance
    children = [(key, child) for key, child in module._modules.items() if child is not None]
    return [leaf for key, child in children for leaf in _leaves(child, _join(name, key))]


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
