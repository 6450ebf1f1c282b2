"""NTKGP-fn: the NTK's randomised prior function, with members regularised towards the prior."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from bayesnn.networks import (
    draw_centred_params,
    draw_initial_params,
    readout_names,
)
from ensembles.methods.jacobian_product import jacobian_product
from ensembles.methods.plain_value import PlainValue, mean_like
from ensembles.methods.protocol import MemberDraw, Params, Shift


@dataclass(frozen=True, kw_only=True)
class NTKGPFn(PlainValue):
    """δ(x) = J(x, θ₀)·θ*, regulariser ‖θ‖²_Λ, perturbed targets; see `ntkgp_fn()`."""

    name: ClassVar[str] = "ntkgp_fn"
    perturbs_targets: ClassVar[bool] = True
    needs_readout: ClassVar[bool] = True

    def draw(self, network: nn.Module, *, generator: torch.Generator) -> MemberDraw:
        """Return θ₀, then θ* with its entries before the read-out times √2."""
        initial = draw_initial_params(network, generator=generator)
        direction = draw_centred_params(network, generator=generator)
        # f(·, θ₀) brings K; δ must bring the other K, and the rest of 2Θ alone: 2(Θ − K)
        readout = readout_names(network)
        direction = {
            name: value if name in readout else math.sqrt(2) * value
            for name, value in direction.items()
        }
        return MemberDraw(start=initial, shift={"initial": initial, "direction": direction})

    def center(self, network: nn.Module, start: Params) -> Params:
        """Return the prior's mean."""
        return mean_like(network, start)

    def shift(self, network: nn.Module, shift: Shift, x: Tensor) -> Tensor:
        """Return J(x, θ₀)·θ*."""
        return jacobian_product(network, shift["initial"], shift["direction"], x)


def ntkgp_fn() -> NTKGPFn:
    """Return NTKGP-fn (He, Lakshminarayanan, Teh, NeurIPS 2020, arXiv 2007.05864).

    Members f̃ = f(·, θ) + J(·, θ₀)·θ*, with the entries of θ* before the read-out times √2, have
    covariance 2Θ at initialisation: K from f, and K + 2(Θ − K) from δ. Their regulariser shrinks
    θ₀ itself, so that unlike `ntkgp_param` they have no Gaussian-process limit after training.

    Returns:
        The method, for `EnsembleRegressor(method=...)`.

    Example:
        >>> ntkgp_fn().name
        'ntkgp_fn'
    """
    return NTKGPFn()
