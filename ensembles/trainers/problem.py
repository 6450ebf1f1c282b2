"""What a trainer is given and gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor, nn

from ensembles.losses import Loss
from ensembles.methods.protocol import Params, Shift
from ensembles.trainers.member_size import MemberSize
from ensembles.trainers.monitor import Monitor
from ensembles.trainers.observation import Observation, Pointwise


@dataclass(frozen=True, kw_only=True)
class TrainingProblem:
    """What m members minimise, given n data.

    Each minimises (1/n)·Σ_i v_i·loss(f̃(x_i, θ), target_i) + pull/(2n)·‖θ − c‖²_Λ over θ, with
    f̃ = value + offset. For squares the fixed function is in the targets, and there is no offset;
    their data may be linear functions of all values at once, and `loss(H·f̃, target)` is summed.

    Attributes:
        network: the module; its own parameters are not used.
        value: the trained part of one member, (network, θ, shift, x) -> [n, k].
        linearised_at: where the network's Jacobian is that of `value`, (θ, shift) -> parameters.
        inputs: the data, shared by all members.
        targets: data, with target noise where the method asks for it; one an input, unless
            `observation` says otherwise.
        offset: the fixed function δ at the inputs; None where it is zero or in the targets.
        row_weight: v; None for 1.
        loss: of one datum; its `pull` is that of the regulariser. Where there is no regulariser,
            a squared error's pull only says when to stop.
        start: θ at the start, stacked.
        center: c, stacked; None where there is no regulariser.
        shift: the parameter sets of the fixed function, stacked.
        precision: Λ, of one member.
        observation: H; only trainers of squares by Gauss–Newton take one.
    """

    network: nn.Module
    value: Callable[[nn.Module, Params, Shift, Tensor], Tensor]
    linearised_at: Callable[[Params, Shift], Params]
    inputs: Float[Tensor, "p ..."]
    targets: Float[Tensor, "m n t"]
    offset: Float[Tensor, "m n k"] | None
    row_weight: Float[Tensor, " n"] | None
    loss: Loss
    start: Params
    center: Params | None
    shift: Shift
    precision: Params
    observation: Observation = field(default_factory=Pointwise)


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

    def bytes_per_member(self, size: MemberSize) -> int:
        """Return about what one member takes in training, in bytes."""
        ...

    def train(
        self, problem: TrainingProblem, *, seed: int, monitor: Monitor | None = None
    ) -> Trained:
        """Return all members, trained; members never depend on one another.

        Args:
            problem: what they minimise.
            seed: of whatever the trainer draws.
            monitor: watches the steps; it may end them and keeps their state.

        Returns:
            The members, in the problem's order; one that diverged holds NaN or infinity.

        Raises:
            torch.OutOfMemoryError: fewer members may fit.
        """
        ...
