"""Second-order training in function space, for small data: damped Gauss–Newton.

A step with damping λ is an implicit Euler step of length 1/λ of the gradient flow that Λ⁻¹
preconditions; `gauss_newton_step` has the equations. Members without a regulariser have no σ in
their loss, so a limit of their flow that nothing defines but the data's noise: they stop when these
lengths add up to 1/σ², where a mode of K is as much damped as σ² would damp it. With an eigenvalue
κ of K, steps λ_i leave Π 1/(1 + κ/λ_i) of a linear model's residual, more than the flow's
exp(−κ/σ²), and not above 1/(1 + κ/σ²), to which a single step would lead.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from bayesnn.checks import check_count, check_positive
from ensembles.linearisation import linearise
from ensembles.losses import SquaredError
from ensembles.methods.protocol import Params
from ensembles.trainers.even_rows import with_even_rows
from ensembles.trainers.gauss_newton_step import VECTORS, Members, Step, kept_problem
from ensembles.trainers.member_size import MemberSize
from ensembles.trainers.monitor import Monitor, State
from ensembles.trainers.problem import Trained, TrainingProblem

SMALLEST_BLOCK = 2**24  # bytes of activations at a time, whatever the budget
ASK_EVERY = 8  # steps; on a GPU it waits for the device to ask which members are done


@dataclass(frozen=True, kw_only=True)
class GaussNewton:
    """Damped Gauss–Newton in function space; build it with `gauss_newton()`.

    Attributes:
        max_steps: steps at most.
        tolerance: a member is done when a step that it takes was to lower its loss by less than
            this part.
        initial_damping: λ at the start, relative to the mean diagonal of the member's kernel.
        memory_budget: bytes that the members trained at once may take.
    """

    max_steps: int = 300
    tolerance: float = 1e-3
    initial_damping: float = 1.0
    memory_budget: int | None = None

    def bytes_per_member(self, size: MemberSize) -> int:
        """Return about what one member takes: copies of its parameters, kernels, activations."""
        rows = size.n_points * size.n_outputs
        activations = 16 * rows * int(size.n_params**0.5)
        # θ, θ', the point, its change, the trial, what it is chosen into, c and two fixed sets;
        # the kernel in two precisions and its factor; activations go in blocks
        return (11 * size.n_params + activations) * size.itemsize + 4 * rows**2 * 8

    def train(
        self,
        problem: TrainingProblem,
        *,
        seed: int,  # noqa: ARG002
        monitor: Monitor | None = None,
    ) -> Trained:
        """Return the trained members; `seed` is unused, as nothing is drawn."""
        if not isinstance(problem.loss, SquaredError):
            raise ValueError(
                f"trainer: gauss_newton minimises squares only, and the loss is "
                f"{type(problem.loss).__name__}; use adam()."
            )
        budget, n_points = self.memory_budget, len(problem.inputs)
        problem = with_even_rows(problem)
        with torch.no_grad():
            ready = linearise(
                problem.network,
                problem.inputs,
                memory_budget=None if budget is None else max(SMALLEST_BLOCK, budget),
            )
            step = Step(ready=ready, initial_damping=self.initial_damping, tolerance=self.tolerance)
            return _train(problem, step, self.max_steps, n_points, monitor)


def gauss_newton(
    *,
    max_steps: int = 300,
    tolerance: float = 1e-3,
    initial_damping: float = 1.0,
    memory_budget: int | None = None,
) -> GaussNewton:
    """Return the second-order trainer for small data: a few hundred points times outputs.

    Args:
        max_steps: steps at most.
        tolerance: a member is done when a step lowers its loss by less than this part.
        initial_damping: λ at the start, relative to the mean diagonal of the member's kernel.
        memory_budget: bytes that the members trained at once may take; more members than fit are
            trained in chunks. By default 256 MiB on a CPU, where members too large for its cache
            are trained alone, and 8 GiB elsewhere.

    Returns:
        The trainer, for `EnsembleRegressor(trainer=...)`.

    Raises:
        ValueError: a number that is not positive.

    Example:
        >>> gauss_newton(max_steps=50).max_steps
        50
    """
    return GaussNewton(
        max_steps=check_count(max_steps, "max_steps"),
        tolerance=check_positive(tolerance, "tolerance"),
        initial_damping=check_positive(initial_damping, "initial_damping"),
        memory_budget=None
        if memory_budget is None
        else check_count(memory_budget, "memory_budget"),
    )


def _train(
    problem: TrainingProblem, step: Step, max_steps: int, n_points: int, monitor: Monitor | None
) -> Trained:
    everyone = _Everyone.fresh(problem)
    saved = None if monitor is None else monitor.resume()
    if saved is None:
        members, first = step.start(problem), 1
        everyone.note(members)
        own = problem
    else:
        members, first = everyone.resumed(saved)
        own = kept_problem(problem, members.numbers)
    every = 1 if problem.targets.device.type == "cpu" else ASK_EVERY
    n_steps = first - 1
    for n_steps in range(first, max_steps + 1 if len(members.numbers) else first):
        everyone.note_losses(members)
        members = step(own, members, first=n_steps == 1)
        asked = n_steps == 1 or n_steps % every == 0  # linear members are done after one step
        if asked and 4 * int(members.done.sum()) >= len(members.done):
            everyone.note(members)
            left = ~members.done
            members, own = members.kept(left), kept_problem(own, left)
        stop = monitor is not None and monitor.after_step(
            n_steps,
            max_steps,
            everyone.losses / n_points,
            partial(everyone.state, members, n_steps),
        )
        if stop or len(members.numbers) == 0:
            break
    everyone.note(members)
    return Trained(params=everyone.params, converged=everyone.converged, n_steps=n_steps)


@dataclass(frozen=True, kw_only=True)
class _Everyone:
    """All members in the problem's order, written where some leave the training."""

    params: Params
    converged: Tensor
    losses: Tensor  # ½‖e‖² before the last step

    @staticmethod
    def fresh(problem: TrainingProblem) -> _Everyone:
        converged = problem.targets.new_zeros(len(problem.targets), dtype=torch.bool)
        return _Everyone(
            params={name: value.clone() for name, value in problem.start.items()},
            converged=converged,
            losses=converged.double(),
        )

    def note_losses(self, members: Members) -> None:
        self.losses[members.numbers] = members.data_loss

    def note(self, members: Members) -> None:
        for name, value in members.params.items():
            self.params[name][members.numbers] = value
        self.converged[members.numbers] = members.done & ~members.stuck

    def state(self, members: Members, n_steps: int) -> State:
        """Return all that the next step depends on: a State of a Monitor."""
        named = {"params": members.params, "previous": members.previous, "everyone": self.params}
        return (
            {
                f"{kind}/{name}": v.clone()
                for kind, params in named.items()
                for name, v in params.items()
            }
            | {name: getattr(members, name).clone() for name in VECTORS}
            | {"converged": self.converged.clone(), "losses": self.losses.clone()}
            | {"n_steps": torch.tensor(n_steps)}
        )

    def resumed(self, state: State) -> tuple[Members, int]:
        """Take a state over.

        Args:
            state: as `state` gave it.

        Returns:
            The members in training, and their next step.
        """

        def named(kind: str) -> Params:
            prefix = f"{kind}/"
            return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

        for name, value in named("everyone").items():
            self.params[name].copy_(value)
        self.converged.copy_(state["converged"])
        self.losses.copy_(state["losses"])
        members = Members(
            params=named("params"),
            previous=named("previous"),
            **{name: state[name] for name in VECTORS},
        )
        return members, int(state["n_steps"]) + 1
