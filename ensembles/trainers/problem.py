"""What a trainer is given and gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor, nn

from ensembles.methods.protocol import Params, Shift


@dataclass(frozen=True, kw_only=True)
class TrainingProblem:
    """Least squares for m members, n data and k outputs of weights w = σ̄/σ_k.

    Each member minimises 1/(2n)·Σ (w·(target − value(θ)))² + σ̄²/(2n)·‖θ − c‖²_Λ over θ.

    Attributes:
        network: the module; its own parameters are not used.
        value: the trained part of one member, (network, θ, shift, x) -> [n, k].
        linearised_at: where the network's Jacobian is that of `value`, (θ, shift) -> parameters.
        inputs: the data, shared by all members.
        targets: data, with target noise where the method asks for it, less the fixed δ.
        start: θ at the start, stacked.
        center: c, stacked; None where there is no regulariser.
        shift: the parameter sets of the fixed function, stacked.
        precision: Λ, of one member.
        noise_variance: σ̄²; where there is no regulariser, it only says when to stop.
        output_weight: w.
    """

    network: nn.Module
    value: Callable[[nn.Module, Params, Shift, Tensor], Tensor]
    linearised_at: Callable[[Params, Shift], Params]
    inputs: Float[Tensor, "n d"]
    targets: Float[Tensor, "m n k"]
    start: Params
    center: Params | None
    shift: Shift
    precision: Params
    noise_variance: float
    output_weight: Float[Tensor, " k"]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Trained members.

    Attributes:
        params: θ, stacked.
        converged: which members met the trainer's criterion.
        n_steps: steps that were taken.
    """

    params: Params
    converged: Bool[Tensor, " m"]
    n_steps: int


@runtime_checkable
class Trainer(Protocol):
    """Trains many members side by side; a frozen dataclass of settings."""

    @property
    def memory_budget(self) -> int | None:
        """Bytes that members trained at once may take, in chunks; None for the device's default."""
        ...

    def bytes_per_member(self, n_params: int, n_points: int, n_outputs: int, itemsize: int) -> int:
        """Return about what one member takes in training, in bytes."""
        ...

    def train(self, problem: TrainingProblem, *, seed: int) -> Trained:
        """Return all members, trained; members never depend on one another."""
        ...
