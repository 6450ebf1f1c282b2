"""NTKGP-param: members are posterior samples of the Gaussian process of the NTK."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from bayesnn.networks import draw_centred_params, draw_initial_params, readout_names
from ensembles.methods.jacobian_product import jacobian_product
from ensembles.methods.plain_value import PlainValue
from ensembles.methods.protocol import MemberDraw, Params, Shift


@dataclass(frozen=True, kw_only=True)
class NTKGPParam(PlainValue):
    """δ(x) = J(x, θ₀)·θ*, regulariser ‖θ − θ₀‖²_Λ, perturbed targets; see `ntkgp_param()`."""

    name: ClassVar[str] = "ntkgp_param"
    perturbs_targets: ClassVar[bool] = True
    needs_readout: ClassVar[bool] = True

    def draw(self, network: nn.Module, *, generator: torch.Generator) -> MemberDraw:
        """Return θ₀, then θ* with its read-out entries set to 0."""
        initial = draw_initial_params(network, generator=generator)
        direction = draw_centred_params(network, generator=generator)
        # f(·, θ₀) already has the read-out's part K of Θ
        direction |= {name: torch.zeros_like(initial[name]) for name in readout_names(network)}
        return MemberDraw(start=initial, shift={"initial": initial, "direction": direction})

    def center(self, network: nn.Module, start: Params) -> Params:  # noqa: ARG002
        """Return θ₀."""
        return start

    def shift(self, network: nn.Module, shift: Shift, x: Tensor) -> Tensor:
        """Return J(x, θ₀)·θ* by one Jacobian-vector product; no Jacobian is formed."""
        return jacobian_product(network, shift["initial"], shift["direction"], x)


def ntkgp_param() -> NTKGPParam:
    """Return NTKGP-param (He, Lakshminarayanan, Teh, NeurIPS 2020, arXiv 2007.05864).

    Members f̃ = f(·, θ) + J(·, θ₀)·θ* have covariance Θ (the NTK) at initialisation and, for a wide
    network trained to convergence on y + σ·ε, are samples of the posterior of GP(0, Θ) with noise
    σ. The network's last layer must be linear.

    Returns:
        The method, for `EnsembleRegressor(method=...)`.

    Example:
        >>> ntkgp_param().perturbs_targets
        True
    """
    return NTKGPParam()
