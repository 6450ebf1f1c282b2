"""Randomised prior functions: a second, fixed network is added to each member."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bayesnn.networks import draw_initial_params
from ensembles.methods.plain_value import PlainValue, mean_like
from ensembles.methods.protocol import MemberDraw, Params, Shift


@dataclass(frozen=True, kw_only=True)
class RandomisedPrior(PlainValue):
    """δ(x) = f(x, θ*), regulariser ‖θ‖²_Λ, perturbed targets; see `randomised_prior()`."""

    name: ClassVar[str] = "randomised_prior"
    # where f is linear in θ, θ + θ* is a posterior sample only with y + σ·ε for targets
    perturbs_targets: ClassVar[bool] = True
    needs_readout: ClassVar[bool] = False

    def draw(self, network: nn.Module, *, generator: torch.Generator) -> MemberDraw:
        """Return θ₀, then θ*, both drawn from the prior."""
        initial = draw_initial_params(network, generator=generator)
        fixed = draw_initial_params(network, generator=generator)
        return MemberDraw(start=initial, shift={"fixed": fixed})

    def center(self, network: nn.Module, start: Params) -> Params:
        """Return the prior's mean."""
        return mean_like(network, start)

    def shift(self, network: nn.Module, shift: Shift, x: Tensor) -> Tensor:
        """Return f(x, θ*)."""
        result: Tensor = functional_call(network, shift["fixed"], (x,))
        return result


def randomised_prior() -> RandomisedPrior:
    """Return randomised prior functions (RP-fn; Osband, Aslanides, Cassirer, 2018, 1806.03335).

    Members f̃ = f(·, θ) + f(·, θ*) have covariance 2K (twice the NNGP) at initialisation. They are
    trained on y + σ·ε, as in the source: for a network that is linear in all its parameters they
    are then exact posterior samples, and without the noise they would be too close together near
    the data. For other networks there is no such limit, because the regulariser shrinks θ₀ too.

    Returns:
        The method, for `EnsembleRegressor(method=...)`.

    Example:
        >>> randomised_prior().perturbs_targets
        True
    """
    return RandomisedPrior()
