"""The prior over all parameters of a network: zero-mean, Gaussian, independent.

Parameters with `requires_grad=False` are constants of the network and have no prior.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bayesnn.networks.layers import HasPrior, NTKLinear, StandardLinear

if TYPE_CHECKING:
    from collections.abc import Iterator


def prior_precision(network: nn.Module) -> dict[str, Tensor]:
    """Return the diagonal of Λ: one over the prior variance of every trainable parameter.

    Λ is 1 in NTK parametrisation, and in_features/weight_std² and 1/bias_std² in standard
    parametrisation, so that J Λ⁻¹ Jᵀ is the neural tangent kernel in both.

    Args:
        network: a module whose trainable parameters all belong to layers with a prior.

    Returns:
        Tensors of the parameters' shapes, dtypes and devices, by the parameters' names.

    Raises:
        ValueError: a trainable parameter belongs to a module that gives no prior for it.

    Example:
        >>> from bayesnn.networks import StandardLinear
        >>> prior_precision(StandardLinear(4, 1, weight_std=2.0, bias_std=0.5))
        {'weight': tensor([[1., 1., 1., 1.]]), 'bias': tensor([4.])}
    """
    values: dict[str, float] = {}
    for prefix, module in network.named_modules():
        own = _trainable(module)
        if not own:
            continue
        if not isinstance(module, HasPrior):
            raise ValueError(_unknown(prefix, module, own))
        given = module.own_prior_precision()
        missing = [name for name in own if name not in given]
        if missing:
            raise ValueError(_unknown(prefix, module, missing))
        values |= {_join(prefix, name): given[name] for name in own}
    return {
        name: torch.full_like(parameter, values[name], requires_grad=False)
        for name, parameter in _named_trainable(network)
    }


def prior_mean(network: nn.Module) -> dict[str, Tensor]:
    """Return the mean of the prior of every trainable parameter: 0.

    Args:
        network: a module whose trainable parameters all have a prior.

    Returns:
        Tensors of the parameters' shapes, dtypes and devices, by the parameters' names.

    Example:
        >>> from bayesnn.networks import NTKLinear
        >>> prior_mean(NTKLinear(2, 1))
        {'weight': tensor([[0., 0.]]), 'bias': tensor([0.])}
    """
    return {
        name: torch.zeros_like(parameter, requires_grad=False)
        for name, parameter in _named_trainable(network)
    }


def draw_initial_params(network: nn.Module, *, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw every trainable parameter from its prior; the network stays as it is.

    Args:
        network: a module whose trainable parameters all have a prior.
        generator: a generator on the CPU. Draws are made in float64 in the order of
            `named_parameters`, so devices and dtypes agree up to rounding.

    Returns:
        Tensors of the parameters' shapes, dtypes and devices, by the parameters' names.

    Raises:
        ValueError: a trainable parameter has no prior.

    Example:
        >>> from bayesnn.networks import NTKLinear
        >>> draw = draw_initial_params(NTKLinear(3, 2), generator=torch.Generator().manual_seed(0))
        >>> {name: tuple(value.shape) for name, value in draw.items()}
        {'weight': (2, 3), 'bias': (2,)}
    """
    mean = prior_mean(network)
    centred = draw_centred_params(network, generator=generator)
    return {name: mean[name] + value for name, value in centred.items()}


def draw_centred_params(network: nn.Module, *, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw every trainable parameter's distance from its prior mean, N(0, Λ⁻¹).

    Args:
        network: a module whose trainable parameters all have a prior.
        generator: a generator on the CPU.

    Returns:
        Tensors of the parameters' shapes, dtypes and devices, by the parameters' names.

    Raises:
        ValueError: a trainable parameter has no prior.

    Example:
        >>> from bayesnn.networks import NTKLinear
        >>> draw = draw_centred_params(NTKLinear(3, 2), generator=torch.Generator().manual_seed(0))
        >>> {name: tuple(value.shape) for name, value in draw.items()}
        {'weight': (2, 3), 'bias': (2,)}
    """
    params: dict[str, Tensor] = {}
    for name, precision in prior_precision(network).items():
        draw = torch.randn(precision.shape, dtype=torch.float64, generator=generator)
        params[name] = draw.to(precision) / precision.sqrt()
    return params


def readout_names(network: nn.Module) -> tuple[str, ...]:
    """Return the names of the parameters of the last linear layer, in which f is linear.

    Last is meant in the order in which the network registers its layers, which for
    `torch.nn.Sequential` and `mlp` is the order in which they run.

    Args:
        network: a module with a trainable `NTKLinear` or `StandardLinear`.

    Returns:
        The names, as in `network.named_parameters()`.

    Raises:
        ValueError: there is no such layer.

    Example:
        >>> from bayesnn.networks import Erf, mlp
        >>> readout_names(mlp(in_features=1, out_features=1, width=8, depth=1, activation=Erf()))
        ('2.weight', '2.bias')
    """
    last: tuple[str, ...] = ()
    for prefix, module in network.named_modules():
        if isinstance(module, NTKLinear | StandardLinear) and _trainable(module):
            last = tuple(_join(prefix, name) for name in _trainable(module))
    if not last:
        raise ValueError(
            "network: expected a linear read-out layer with a prior, found none; end the network "
            "with bayesnn.networks.NTKLinear or StandardLinear."
        )
    return last


def _named_trainable(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, p) for name, p in network.named_parameters() if p.requires_grad)


def _trainable(module: nn.Module) -> list[str]:
    return [name for name, p in module.named_parameters(recurse=False) if p.requires_grad]


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _unknown(prefix: str, module: object, names: list[str]) -> str:
    return (
        f"network: the prior of {', '.join(names)} in module {prefix or 'network'!r} "
        f"({type(module).__name__}) is unknown; use bayesnn.networks.NTKLinear or StandardLinear "
        "in its place, give the module a method own_prior_precision(), or freeze its parameters "
        "with requires_grad_(False)."
    )
