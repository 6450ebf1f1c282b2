"""What a method is: the fixed function, the regulariser and the target noise, given together.

Every member minimises, over θ, with noise σ and N data (He, Lakshminarayanan, Teh, 2020, arXiv
2007.05864),   ½ · mean_n (y_n − f̃(x_n, θ))² + σ²/(2N) · ‖θ − c‖²_Λ,   f̃ = value(θ) + δ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

Params = dict[str, Tensor]
Shift = dict[str, Params]


@dataclass(frozen=True, kw_only=True)
class MemberDraw:
    """The random draws of one member, or of several, stacked along the first dimension.

    Attributes:
        start: the parameters at which training starts.
        shift: the parameter sets that the method's fixed function needs, by their names.
    """

    start: Params
    shift: Shift


@runtime_checkable
class Method(Protocol):
    """One way to turn a network into a member of an ensemble; a frozen dataclass.

    A method that perturbs its targets trains on y + σ·ε with ε ~ N(0, I) drawn once a member.
    """

    @property
    def name(self) -> str:
        """The method's name in files and results."""
        ...

    @property
    def perturbs_targets(self) -> bool:
        """Whether members see y + σ·ε in place of y."""
        ...

    @property
    def needs_readout(self) -> bool:
        """Whether draws single out the read-out layer, in which f must be linear."""
        ...

    def draw(self, network: nn.Module, *, generator: torch.Generator) -> MemberDraw:
        """Return one member's draws: θ₀ first, then θ*, whatever else afterwards.

        Members are drawn in threads, so the network must stay as it is meanwhile.
        """
        ...

    def center(self, network: nn.Module, start: Params) -> Params | None:
        """Return the centre c of the regulariser, stacked like `start`; None without one."""
        ...

    def shift(self, network: nn.Module, shift: Shift, x: Tensor) -> Tensor | None:
        """Return the fixed function δ(x) [n, outputs] of one member; None where it is zero."""
        ...

    def value(self, network: nn.Module, params: Params, shift: Shift, x: Tensor) -> Tensor:
        """Return the trained part [n, outputs] of one member; f(x, θ) for most methods."""
        ...

    def linearised_at(self, params: Params, shift: Shift) -> Params:
        """Return where the network's Jacobian is that of `value` in θ; θ itself for most."""
        ...
