"""NTKGP-lin: members are linear in what is trained, and exact posterior samples at any width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from bayesnn.networks import draw_initial_params, prior_mean
from ensembles.methods.jacobian_product import jacobian_product
from ensembles.methods.protocol import MemberDraw, Params, Shift


@dataclass(frozen=True, kw_only=True)
class NTKGPLin:
    """A member is J(x, θ*)·θ, regulariser ‖θ − θ₀‖²_Λ, perturbed targets; see `ntkgp_lin()`."""

    name: ClassVar[str] = "ntkgp_lin"
    perturbs_targets: ClassVar[bool] = True
    needs_readout: ClassVar[bool] = False

    def draw(self, network: nn.Module, *, generator: torch.Generator) -> MemberDraw:
        """Return θ₀, then θ*, both drawn from the prior."""
        initial = draw_initial_params(network, generator=generator)
        tangent_at = draw_initial_params(network, generator=generator)
        return MemberDraw(start=initial, shift={"tangent_at": tangent_at})

    def center(self, network: nn.Module, start: Params) -> Params:  # noqa: ARG002
        """Return θ₀."""
        return start

    def shift(self, network: nn.Module, shift: Shift, x: Tensor) -> None:
        """Return None: there is no fixed function."""

    def value(self, network: nn.Module, params: Params, shift: Shift, x: Tensor) -> Tensor:
        """Return J(x, θ*)·θ, with θ taken from the prior's mean."""
        mean = prior_mean(network)
        direction = {name: value - mean[name] for name, value in params.items()}
        return jacobian_product(network, shift["tangent_at"], direction, x)

    def linearised_at(self, params: Params, shift: Shift) -> Params:  # noqa: ARG002
        """Return θ*, whatever θ is."""
        return shift["tangent_at"]


def ntkgp_lin() -> NTKGPLin:
    """Return NTKGP-lin (He, Lakshminarayanan, Teh, NeurIPS 2020, arXiv 2007.05864).

    A member is the linear model J(·, θ*)·θ, so that, trained to convergence on y + σ·ε, it is at
    any width an exact sample of the posterior of GP(0, J Λ⁻¹ Jᵀ) with the Jacobian at its own θ*:

        J_*θ₀ + Θ_{*X}(Θ + σ²I)⁻¹(y + σε − Jθ₀).

    θ* differs between members, so an ensemble is a mixture of such posteriors.

    Returns:
        The method, for `EnsembleRegressor(method=...)`.

    Example:
        >>> ntkgp_lin().name
        'ntkgp_lin'
    """
    return NTKGPLin()
