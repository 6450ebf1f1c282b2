"""Approximate prior draws for any number of points: networks of finite width."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp

from bayesnn.checks import check_count
from bayesnn.gp.prior_draws import Prior, PriorDraws
from bayesnn.gp.regression import Kernel
from bayesnn.networks import draw_centred_params, draw_initial_params, with_prior
from bayesnn.seeds import seeded_generator

Params = dict[str, Tensor]
Draw = Callable[[nn.Module, Params, Params, Tensor], Tensor]  # at θ₀ and v

CHUNK = 1024  # points at a time


def finite_nngp_prior(network: nn.Module, *, chunk: int = CHUNK) -> Prior:
    """Return approximate draws of GP(0, K): first outputs f(·, θ₀) of networks of finite width.

    Mean and, to O(1/width), covariance are those of the prior, and the distribution is Gaussian to
    O(1/width); `bayesnn.gp.prior_draws.covariance_error` measures it.

    Args:
        network: the network at the width that is wanted; its own parameters are not used, and of
            several outputs, which are alike, the first is drawn.
        chunk: points that go through it at a time.

    Returns:
        What `pathwise_samples` takes as `prior`.

    Raises:
        ValueError: a parameter without a prior, or a chunk below 1.

    Example:
        >>> from bayesnn.kernels import nngp
        >>> from bayesnn.networks import Erf, mlp
        >>> net = mlp(in_features=2, out_features=1, width=64, depth=1, activation=Erf())
        >>> functions = finite_nngp_prior(net)(nngp(net), 5, 0)  # five draws, seed 0
        >>> functions(torch.eye(2, dtype=torch.float64)).shape
        torch.Size([5, 2])
    """
    return _prior(network, _value, chunk)


def finite_ntk_prior(network: nn.Module, *, chunk: int = CHUNK) -> Prior:
    """Return approximate draws of GP(0, Θ): J(·, θ₀)v with θ₀ of each draw and v ~ N(0, Λ⁻¹).

    Given θ₀ they are Gaussian with the empirical NTK as covariance, which is Θ to O(1/√width), and
    to O(1/width) in the mean over θ₀.

    Args:
        network: the network at the width that is wanted; its own parameters are not used, and of
            several outputs, which are alike, the first is drawn.
        chunk: points that go through it at a time.

    Returns:
        What `pathwise_samples` takes as `prior`.

    Raises:
        ValueError: a parameter without a prior, or a chunk below 1.

    Example:
        >>> from bayesnn.kernels import ntk
        >>> from bayesnn.networks import Erf, mlp
        >>> net = mlp(in_features=2, out_features=1, width=64, depth=1, activation=Erf())
        >>> functions = finite_ntk_prior(net)(ntk(net), 5, 0)  # five draws, seed 0
        >>> functions(torch.eye(2, dtype=torch.float64)).shape
        torch.Size([5, 2])
    """
    return _prior(network, _tangent, chunk)


def _value(network: nn.Module, params: Params, _: Params, x: Tensor) -> Tensor:
    value: Tensor = functional_call(network, params, (x,))
    return value


def _tangent(network: nn.Module, params: Params, direction: Params, x: Tensor) -> Tensor:
    tangent: Tensor = jvp(lambda p: functional_call(network, p, (x,)), (params,), (direction,))[1]
    return tangent


def _prior(network: nn.Module, draw: Draw, chunk: int) -> Prior:
    network = with_prior(network)
    check_count(chunk, "chunk")

    def prior(_: Kernel, n_draws: int, seed: int) -> PriorDraws:
        def draws(x: Tensor) -> Tensor:
            return torch.stack([one(x, number) for number in range(n_draws)])

        def one(x: Tensor, number: int) -> Tensor:
            # drawn anew at every call: no set of parameters is kept
            params = draw_initial_params(network, generator=seeded_generator(seed, number, 0))
            direction = draw_centred_params(network, generator=seeded_generator(seed, number, 1))
            like = next(iter(params.values()))
            with torch.no_grad():
                values = [
                    draw(network, params, direction, some.to(like))[:, 0]
                    for some in torch.split(x, chunk)
                ]
            return torch.cat(values).to(x.device, torch.float64)

        return draws

    return prior
