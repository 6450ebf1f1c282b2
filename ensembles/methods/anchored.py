"""Anchored ensembles: each member is regularised towards its own initialisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from bayesnn.networks import draw_initial_params
from ensembles.methods.plain_value import PlainValue
from ensembles.methods.protocol import MemberDraw, Params, Shift


@dataclass(frozen=True, kw_only=True)
class Anchored(PlainValue):
    """δ = 0, regulariser ‖θ − θ₀‖²_Λ, perturbed targets; build it with `anchored()`."""

    name: ClassVar[str] = "anchored"
    perturbs_targets: ClassVar[bool] = True
    needs_readout: ClassVar[bool] = False

    def draw(self, network: nn.Module, *, generator: torch.Generator) -> MemberDraw:
        """Return θ₀, drawn from the prior."""
        return MemberDraw(start=draw_initial_params(network, generator=generator), shift={})

    def center(self, network: nn.Module, start: Params) -> Params:  # noqa: ARG002
        """Return θ₀."""
        return start

    def shift(self, network: nn.Module, shift: Shift, x: Tensor) -> None:
        """Return None: there is no fixed function."""


def anchored() -> Anchored:
    """Return the anchored ensemble (RP-param; Pearce et al., 2020, arXiv 1810.05546).

    Members have covariance K (NNGP) at initialisation and are trained on y + σ·ε. For a network
    that is linear in all its parameters they are exact posterior samples; for a wide network that
    is trained throughout, `ntkgp_param` is the method that is.

    Returns:
        The method, for `EnsembleRegressor(method=...)`.

    Example:
        >>> anchored().name
        'anchored'
    """
    return Anchored()
