"""Networks as plain data: what a file can hold of them, and back, without running anything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from bayesnn.networks.activations import Cosine, Erf, Sine
from bayesnn.networks.attention import AttentionMixing, TokenMean
from bayesnn.networks.convolution import NTKConv2d
from bayesnn.networks.fourier import FourierFeatures, InfiniteFourierFeatures
from bayesnn.networks.layers import NTKLinear, StandardLinear
from bayesnn.networks.residual import Residual

_Settings = Mapping[str, type]

_LINEAR: _Settings = {
    "in_features": int,
    "out_features": int,
    "weight_std": float,
    "bias_std": float,
}

# what `build` can make, with the keywords of the constructors, which are attributes too
_DRAWN: dict[str, tuple[type[nn.Module], _Settings]] = {
    "NTKLinear": (NTKLinear, _LINEAR),
    "StandardLinear": (StandardLinear, _LINEAR),
    "NTKConv2d": (
        NTKConv2d,
        {
            "in_channels": int,
            "out_channels": int,
            "kernel_size": int,
            "stride": int,
            "padding": int,
            "weight_std": float,
            "bias_std": float,
        },
    ),
    "FourierFeatures": (
        FourierFeatures,
        {"in_features": int, "n_frequencies": int, "frequency_std": float},
    ),
    "AttentionMixing": (AttentionMixing, {"tokens": int, "queries": int}),
}
_PLAIN: dict[str, tuple[type[nn.Module], _Settings]] = {
    "Cosine": (Cosine, {"frequency": float}),
    "Erf": (Erf, {}),
    "InfiniteFourierFeatures": (
        InfiniteFourierFeatures,
        {"in_features": int, "frequency_std": float},
    ),
    "Sine": (Sine, {"frequency": float}),
    "TokenMean": (TokenMean, {}),
    "AdaptiveAvgPool2d": (nn.AdaptiveAvgPool2d, {"output_size": int}),
    "AvgPool2d": (
        nn.AvgPool2d,
        {
            "kernel_size": tuple,
            "stride": tuple,
            "padding": tuple,
            "ceil_mode": bool,
            "count_include_pad": bool,
        },
    ),
    "CELU": (nn.CELU, {"alpha": float}),
    "ELU": (nn.ELU, {"alpha": float}),
    "Flatten": (nn.Flatten, {"start_dim": int, "end_dim": int}),
    "GELU": (nn.GELU, {"approximate": str}),
    "Hardswish": (nn.Hardswish, {}),
    "Identity": (nn.Identity, {}),
    "LayerNorm": (
        nn.LayerNorm,
        {"normalized_shape": tuple, "eps": float, "elementwise_affine": bool},
    ),
    "LeakyReLU": (nn.LeakyReLU, {"negative_slope": float}),
    "Mish": (nn.Mish, {}),
    "ReLU": (nn.ReLU, {}),
    "ReLU6": (nn.ReLU6, {}),
    "SELU": (nn.SELU, {}),
    "SiLU": (nn.SiLU, {}),
    "Sigmoid": (nn.Sigmoid, {}),
    "Softplus": (nn.Softplus, {"beta": float, "threshold": float}),
    "Softsign": (nn.Softsign, {}),
    "Tanh": (nn.Tanh, {}),
}
_KNOWN = _DRAWN | _PLAIN
_NAMES = {module: name for name, (module, _) in _KNOWN.items()}


def describe(network: nn.Module) -> dict[str, Any]:
    """Return what the network is made of, as data that JSON can hold.

    The values of parameters and buffers are not part of it. Sequences and residual blocks of this
    package's layers and of torch.nn's activations without parameters can be described.

    Args:
        network: the network.

    Returns:
        Nested dicts, lists, strings and numbers; `build` turns them into an equal network.

    Raises:
        ValueError: a module that is none of these, or that is used in two places with one set of
            parameters; a file with such a network is loaded with `network=`.

    Example:
        >>> from bayesnn.networks import Erf
        >>> describe(nn.Sequential(Erf()))
        {'type': 'Sequential', 'modules': [['0', {'type': 'Erf'}]]}
    """
    seen: set[int] = set()
    for module in _modules_with_repeats(network):
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        if any(id(tensor) in seen for tensor in own):
            raise ValueError(
                f"network: {type(module).__name__} shares its parameters with another place of "
                "the network, which a description cannot say; pass network= when loading."
            )
        seen.update(id(tensor) for tensor in own)
    return _describe(network)


def build(description: object) -> nn.Module:
    """Return the network that a description tells of.

    Its parameters and buffers hold arbitrary draws: load their values with
    `network.load_state_dict(..., assign=True)`. Only types from a fixed table are made.

    Args:
        description: from `describe`, directly or through JSON.

    Returns:
        The network, in torch's default dtype on the CPU.

    Raises:
        ValueError: the description names an unknown type, or has missing or impossible settings.

    Example:
        >>> build({"type": "Sequential", "modules": [["0", {"type": "Erf"}]]})
        Sequential(
          (0): Erf()
        )
    """
    return _build(description, torch.Generator().manual_seed(0))


def _modules_with_repeats(network: nn.Module) -> list[nn.Module]:
    # named_modules would name a shared module once only
    children = [child for child in network._modules.values() if child is not None]
    return [network, *(inner for child in children for inner in _modules_with_repeats(child))]


def _describe(module: nn.Module) -> dict[str, Any]:
    if type(module) is nn.Sequential:
        children = ((key, child) for key, child in module._modules.items() if child is not None)
        return {"type": "Sequential", "modules": [[key, _describe(c)] for key, c in children]}
    if type(module) is Residual:
        return {"type": "Residual", "scale": module.scale, "branch": _describe(module.branch)}
    name = _NAMES.get(type(module))  # no subclasses: they may compute something else
    if name is None:
        raise ValueError(
            f"network: a module of type {type(module).__name__} cannot be described, only "
            f"Sequential, Residual, {', '.join(_KNOWN)}; pass network= when loading."
        )
    description: dict[str, Any] = {"type": name}
    for key in _KNOWN[name][1]:
        value = getattr(module, key)
        description[key] = list(value) if isinstance(value, tuple) else value  # as JSON has it
    frozen = [key for key, p in module.named_parameters(recurse=False) if not p.requires_grad]
    return description | ({"frozen": frozen} if frozen else {})


def _build(description: object, generator: torch.Generator) -> nn.Module:
    if not isinstance(description, Mapping) or "type" not in description:
        raise ValueError(f"network: expected a description with a type, got {description!r:.80}.")
    name = description["type"]
    if name == "Sequential":
        return _build_sequential(description, generator)
    if name == "Residual":
        return _build_residual(description, generator)
    if not isinstance(name, str) or name not in _KNOWN:
        raise ValueError(
            f"network: a module of type {name!r:.80} is unknown here; pass network= when loading."
        )
    module_type, settings = _KNOWN[name]
    given = {key: value for key, value in description.items() if key not in {"type", "frozen"}}
    if given.keys() != settings.keys() or not all(
        _is_setting(given[key], kind) for key, kind in settings.items()
    ):
        wanted = ", ".join(f"{key} ({kind.__name__})" for key, kind in settings.items())
        raise ValueError(
            f"network: {name} expects the settings {wanted or 'none'}, got {given!r:.200}."
        )
    draws = {"generator": generator} if name in _DRAWN else {}
    try:
        module = module_type(**given, **draws)
        for key in description.get("frozen", ()):
            module.get_parameter(key).requires_grad = False
    except (AttributeError, RuntimeError, TypeError) as error:
        raise ValueError(f"network: {name} cannot be built ({error}).") from error
    return module


def _build_sequential(description: Mapping[str, Any], generator: torch.Generator) -> nn.Module:
    network = nn.Sequential()
    try:
        named = [(key, inner) for key, inner in description["modules"]]
        for key, inner in named:
            network.add_module(key, _build(inner, generator))
    except (KeyError, TypeError) as error:
        raise ValueError(f"network: expected a list of named modules ({error!r}).") from error
    return network


def _build_residual(description: Mapping[str, Any], generator: torch.Generator) -> nn.Module:
    keys = {"type", "scale", "branch"}
    if description.keys() != keys or not _is_setting(description["scale"], float):
        raise ValueError(
            f"network: Residual expects scale (float) and branch, got {description!r:.200}."
        )
    return Residual(_build(description["branch"], generator), scale=description["scale"])


def _is_setting(value: object, kind: type) -> bool:
    if kind is tuple:  # of sizes, or one size for all
        sizes = value if isinstance(value, list) else [value]
        return all(_is_setting(size, int) for size in sizes)
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    if kind is float:
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, kind)
