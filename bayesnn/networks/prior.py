"""The prior over all parameters of a network: Gaussian and independent.

Parameters with `requires_grad=False` are constants of the network and have no prior.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bayesnn.networks.declaration import declaration, unknown_prior
from bayesnn.networks.layer_precision import layer_precisions, trainable


def prior_precision(network: nn.Module) -> dict[str, Tensor]:
    """Return the diagonal of Λ: one over the prior variance of every trainable parameter.

    Λ is 1 in NTK parametrisation, and in_features/weight_std² and 1/bias_std² in standard
    parametrisation, so that J Λ⁻¹ Jᵀ is the neural tangent kernel in both. `with_prior` says where
    the prior of other layers comes from.

    Args:
        network: any module whose trainable parameters have a spread, or one that `with_prior` made.

    Returns:
        Tensors of the parameters' shapes, dtypes and devices, by the parameters' names.

    Raises:
        ValueError: a trainable parameter starts at a constant, or batch normalisation.

    Example:
        >>> from bayesnn.networks import StandardLinear
        >>> prior_precision(StandardLinear(4, 1, weight_std=2.0, bias_std=0.5))
        {'weight': tensor([[1., 1., 1., 1.]]), 'bias': tensor([4.])}
    """
    declared = declaration(network)
    found: dict[str, Tensor] = {}
    values = layer_precisions(network) if declared is None else declared.precision
    for name, parameter in trainable(network):
        value = values.get(name)
        if value is None:
            raise ValueError(unknown_prior(name))
        if isinstance(value, Tensor):
            found[name] = value.to(parameter)
        elif math.isinf(value):
            raise ValueError(
                f"network: {name!r} starts at a constant, so its initialisation gives no prior; "
                "bayesnn.networks.with_prior(network) holds it fixed, and precision= gives it one."
            )
        else:
            found[name] = torch.full_like(parameter, value, requires_grad=False)
    return found


def prior_mean(network: nn.Module) -> dict[str, Tensor]:
    """Return the mean of the prior of every trainable parameter.

    It is 0, but for parameters that start at a constant and are trained because the user has given
    them a precision (`with_prior`): theirs is that constant.

    Args:
        network: any module.

    Returns:
        Tensors of the parameters' shapes, dtypes and devices, by the parameters' names.

    Example:
        >>> from bayesnn.networks import NTKLinear
        >>> prior_mean(NTKLinear(2, 1))
        {'weight': tensor([[0., 0.]]), 'bias': tensor([0.])}
    """
    declared = declaration(network)
    means = {} if declared is None else declared.mean
    return {
        name: means[name].to(parameter)
        if name in means
        else torch.zeros_like(parameter, requires_grad=False)
        for name, parameter in trainable(network)
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
    for module in network.modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.padding_idx is not None:
            for name, parameter in trainable(network):
                if parameter is module.weight:  # torch starts the padding at 0 and never trains it
                    params[name][module.padding_idx] = 0.0
    return params
