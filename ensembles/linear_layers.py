"""Layers that are linear in their own parameters, and how their inputs meet their outputs.

A dense layer or a convolution maps, at each position of a point (one, the tokens of a sequence, the
pixels of an image), f inputs linearly to o outputs: see `jacobian_parts`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from bayesnn.networks import NTKConv2d, NTKLinear, StandardLinear
from ensembles.jacobian_parts import Trainable, uniform
from ensembles.methods.protocol import Params

DENSE = (nn.Linear, NTKLinear, StandardLinear)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, NTKConv2d)

Hook = Callable[[str, Tensor, Tensor], Tensor | None]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer that is called once on every point.

    Attributes:
        module: the layer.
        weight: its weight; None where it is frozen.
        bias: its bias; None where it has none or it is frozen.
        output_shape: of one point.
        numbers_per_point: of inputs and of outputs at all positions.
    """

    module: nn.Module
    weight: Trainable | None
    bias: Trainable | None
    output_shape: tuple[int, ...]
    numbers_per_point: tuple[int, int]

    def input_positions(self, inputs: Tensor) -> Tensor:
        """Return inputs [m, a, ...] as [m, a, positions, f]."""
        if isinstance(self.module, DENSE):
            return inputs.reshape(*inputs.shape[:2], -1, inputs.shape[-1])
        if inputs.stride(0) == 0:  # shared by all members, as the first layer's inputs are
            one = _patches(self.module, inputs[0]).unsqueeze(0)
            return one.expand(len(inputs), *one.shape[1:])
        each = _patches(self.module, inputs.flatten(0, 1))
        return each.view(*inputs.shape[:2], *each.shape[1:])

    def output_positions(self, gradients: Tensor) -> Tensor:
        """Return gradients of the outputs [m, k, a, ...] as [m, k, a, positions, o]."""
        if isinstance(self.module, DENSE):
            return gradients.reshape(*gradients.shape[:3], -1, gradients.shape[-1])
        return gradients.flatten(4).transpose(3, 4)


def linear_layers(network: nn.Module, x: Tensor, precision: Params) -> dict[str, Layer]:
    """Return, by prefix, the layers that can be taken layer by layer.

    Args:
        network: on x's device; it runs twice.
        x: points.
        precision: Λ, by the names of the trainable parameters.

    Returns:
        Dense layers and convolutions with trainable parameters of their own, called once on a
        tensor whose first dimension is that of the points.
    """
    uses = Counter(id(p) for _, p in network.named_parameters(remove_duplicate=False))
    candidates = {
        f"{name}." if name else "": module
        for name, module in network.named_modules()
        if _is_linear(module)
        and any(p.requires_grad for p in module.parameters(recurse=False))
        and all(uses[id(p)] == 1 for p in module.parameters(recurse=False))
    }
    one = _calls(network, candidates, x[:1])
    two = _calls(network, candidates, x[:1].repeat_interleave(2, 0))
    return {
        prefix: _layer(module, prefix, precision, *one[prefix][0])
        for prefix, module in candidates.items()
        # with twice the points, a first dimension of another meaning would not double
        if len(one[prefix]) == 1
        and (one[prefix][0][0].shape[0], two[prefix][0][0].shape[0]) == (1, 2)
    }


@contextmanager
def outputs_hooked(modules: dict[str, nn.Module], hook: Hook) -> Iterator[None]:
    """Call hook(prefix, input, output) after each module; what it returns replaces the output."""

    def bound(prefix: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]:
        return lambda _, args, output: hook(prefix, args[0], output)

    handles = [module.register_forward_hook(bound(prefix)) for prefix, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_linear(module: nn.Module) -> bool:
    # subclasses may compute something else
    return type(module) in (*DENSE, *CONVOLUTIONS) and getattr(module, "groups", 1) == 1


def _calls(
    network: nn.Module, modules: dict[str, nn.Module], x: Tensor
) -> dict[str, list[tuple[Tensor, Tensor]]]:
    """Return input and output of each call of each module."""
    calls: dict[str, list[tuple[Tensor, Tensor]]] = {prefix: [] for prefix in modules}

    def record(prefix: str, inputs: Tensor, output: Tensor) -> None:
        calls[prefix].append((inputs, output))

    with outputs_hooked(modules, record), torch.no_grad():
        network(x)
    return calls


def _layer(
    module: nn.Module, prefix: str, precision: Params, inputs: Tensor, output: Tensor
) -> Layer:
    def trainable(name: str, scale: float) -> Trainable | None:
        value = precision.get(f"{prefix}{name}")
        if value is None:
            return None
        return Trainable(
            name=f"{prefix}{name}", scale=scale, precision=value, uniform=uniform(value)
        )

    weight_scale, bias_scale = 1.0, 1.0
    if isinstance(module, NTKLinear):
        weight_scale, bias_scale = module.weight_std / module.in_features**0.5, module.bias_std
    elif isinstance(module, NTKConv2d):
        weight_scale, bias_scale = module.weight_std / module.fan_in**0.5, module.bias_std
    layer = Layer(
        module=module,
        weight=trainable("weight", weight_scale),
        bias=trainable("bias", bias_scale),
        output_shape=tuple(output.shape[1:]),
        numbers_per_point=(0, output.numel()),
    )
    positions = layer.input_positions(inputs.unsqueeze(0))
    return replace(layer, numbers_per_point=(positions.numel(), output.numel()))


def _patches(module: nn.Module, images: Tensor) -> Tensor:
    """Return what each output of a convolution sees, [b, positions, f]."""
    if isinstance(module, NTKConv2d):
        return functional.unfold(
            images, module.kernel_size, padding=module.padding, stride=module.stride
        ).mT
    assert isinstance(module, nn.Conv1d | nn.Conv2d)
    kernel, dilation = module.kernel_size, module.dilation
    if module.padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        pads = [(t // 2, t - t // 2) for t in total]
    elif module.padding == "valid":
        pads = [(0, 0) for _ in kernel]
    else:
        pads = [(int(p), int(p)) for p in module.padding]
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    around = [side for pad in reversed(pads) for side in pad]  # the last dimension comes first
    images = functional.pad(images, around, mode=mode)
    one = (1,) * (2 - len(kernel))
    if one:
        images = images.unsqueeze(2)
    return functional.unfold(
        images, one + kernel, dilation=one + dilation, stride=one + module.stride
    ).mT
