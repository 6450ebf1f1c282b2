"""The read-out: the layer that makes the output, in whose parameters the network is linear."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.conv import _ConvNd

from bayesnn.networks.convolution import NTKConv2d
from bayesnn.networks.declaration import declaration, with_prior
from bayesnn.networks.layer_precision import names_below
from bayesnn.networks.layers import NTKLinear, StandardLinear
from bayesnn.networks.prior import draw_initial_params

LINEAR = (NTKLinear, StandardLinear, NTKConv2d, nn.Linear, _ConvNd, nn.Bilinear)


def readout_names(network: nn.Module) -> tuple[str, ...]:
    """Return the names of the trainable parameters of the read-out.

    It is what `with_prior` has declared; else the linear or convolutional layer that the network
    registers last, which for `torch.nn.Sequential` and `mlp` is the one that runs last.
    `with_readout` looks at which one runs last, and checks that the network is linear in it.

    Args:
        network: a module with a linear layer.

    Returns:
        The names, as in `network.named_parameters()`.

    Raises:
        ValueError: there is no such layer.

    Example:
        >>> from bayesnn.networks import Erf, mlp
        >>> readout_names(mlp(in_features=1, out_features=1, width=8, depth=1, activation=Erf()))
        ('2.weight', '2.bias')
    """
    declared = declaration(network)
    if declared is not None and declared.readout is not None:
        return _trainable_below(network, declared.readout)
    layers = _linear_layers(network)
    if not layers:
        raise ValueError(
            "network: expected a linear read-out layer, found none; end the network with a linear "
            "layer, or name the parameters in which its output is linear by readout= of "
            "bayesnn.networks.with_prior or of the estimator."
        )
    return _trainable_below(network, next(reversed(layers)))


def with_readout(network: nn.Module, x: Tensor) -> nn.Module:
    """Return a copy of a network that carries its read-out, found by running it and checked.

    The read-out is the one that `with_prior` has declared, or else the linear or convolutional
    layer that runs last, or else the one that is registered last. With θ_r its parameters,
    f(2θ_r) = 2f(θ_r) and f(−θ_r) = −f(θ_r) are checked at a few points and a draw from the prior.

    Args:
        network: a module whose trainable parameters have a prior.
        x: some inputs; the first three are used.

    Returns:
        The copy, as of `with_prior`.

    Raises:
        ValueError: there is no linear layer, or f is not linear in the read-out.

    Example:
        >>> network = with_readout(nn.Sequential(nn.Linear(2, 4), nn.Tanh()), torch.ones(1, 2))
        Traceback (most recent call last):
        ...
        ValueError: network: its output is not linear in the read-out '0' ...
    """
    network = with_prior(network)
    declared = declaration(network)
    assert declared is not None
    if declared.readout is not None:
        candidates = [declared.readout]
    else:
        readout_names(network)  # says so where there is no linear layer
        layers = _linear_layers(network)
        candidates = list(dict.fromkeys((_last_called(network, layers, x), *reversed(layers))))[:2]
    for candidate in candidates:
        if _is_linear_in(network, _trainable_below(network, candidate), x):
            return with_prior(network, readout=candidate)
    raise ValueError(
        f"network: its output is not linear in the read-out {candidates[0]!r} (twice its "
        "parameters must give twice the output, and minus its parameters minus the output). Take "
        "what follows that layer off the network (a softmax belongs into the likelihood), let it "
        "share no parameters, or name another module by readout= of bayesnn.networks.with_prior or "
        "of the estimator."
    )


def _linear_layers(network: nn.Module) -> dict[str, nn.Module]:
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, LINEAR) and any(p.requires_grad for p in module.parameters())
    }


def _trainable_below(network: nn.Module, name: str) -> tuple[str, ...]:
    trained = {key for key, p in network.named_parameters() if p.requires_grad}
    return tuple(key for key in names_below(network, name) if key in trained)


def _last_called(network: nn.Module, layers: dict[str, nn.Module], x: Tensor) -> str:
    called = [next(reversed(layers))]

    def note(name: str, *_: object) -> None:
        called.append(name)

    handles = [layer.register_forward_hook(partial(note, name)) for name, layer in layers.items()]
    try:
        with torch.no_grad():
            network(x[:1])
    finally:
        for handle in handles:
            handle.remove()
    return called[-1]


def _is_linear_in(network: nn.Module, names: tuple[str, ...], x: Tensor) -> bool:
    params = draw_initial_params(network, generator=torch.Generator().manual_seed(0))

    def times(factor: float) -> Tensor:
        scaled = params | {name: factor * params[name] for name in names}
        result: Tensor = functional_call(network, scaled, (x[:3],))
        return result

    with torch.no_grad():
        value, twice, minus = times(1.0), times(2.0), times(-1.0)
    if not bool(twice.isfinite().all()):
        return True  # nothing can be seen; that a draw overflows is for the fit to say
    tolerance = math.sqrt(torch.finfo(value.dtype).eps) * float(value.norm())
    return (
        float((twice - 2 * value).norm()) <= 2 * tolerance
        and float((minus + value).norm()) <= tolerance
    )
