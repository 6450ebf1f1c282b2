"""Training by gradients, all members at once: what every first-order trainer shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ensembles.evaluation import over_members
from ensembles.methods.protocol import Params, Shift
from ensembles.trainers.batches import Batches
from ensembles.trainers.execution import Execution
from ensembles.trainers.held_out import Best, EarlyStopping
from ensembles.trainers.leaf import Leaf, new_leaf
from ensembles.trainers.member_size import MemberSize
from ensembles.trainers.monitor import Monitor, State
from ensembles.trainers.observation import Pointwise
from ensembles.trainers.problem import Trained, TrainingProblem
from ensembles.trainers.schedules import Schedule
from ensembles.trainers.updates import Rule


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long, on which rows, at which rates.

    Attributes:
        steps: number of steps.
        batch_size: rows a step; all rows where there are no more.
        rate: largest learning rate.
        schedule: factor of the rate, by the part of the steps that is done.
        early_stopping: which rows are held out, and when training ends; None for neither.
        execution: how a step is run.
    """

    steps: int
    batch_size: int
    rate: float
    schedule: Schedule
    early_stopping: EarlyStopping | None
    execution: Execution


def bytes_per_member(n_slots: int, batch_size: int, size: MemberSize) -> int:
    """Return about what one member takes: copies of parameters and targets, activations."""
    # θ, its gradient, start, centre, the fixed function's two sets, and the rule's slots
    numbers = (6 + n_slots) * size.n_params + 3 * size.n_points * size.n_outputs
    return numbers * size.itemsize + min(batch_size, size.n_points) * size.bytes_per_point


def train_by_gradients(
    problem: TrainingProblem, rule: Rule, plan: Plan, *, seed: int, monitor: Monitor | None
) -> Trained:
    """Return the members after `plan.steps` steps of `rule`, or when something stopped them."""
    if not isinstance(problem.observation, Pointwise):
        raise ValueError(
            "trainer: data that are functions of all values at once need gauss_newton(); trainers "
            "by gradients take one datum an input."
        )
    with plan.execution.products():
        training, best = _start(problem, rule, plan, seed)
        try:
            done = _resume(monitor, training, best)
            while done < plan.steps:
                training.step(done)
                done += 1
                stop = best is not None and done % best.rule.every == 0 and best.check()
                if monitor is not None:
                    state = partial(_state, done, training, best)
                    stop = monitor.after_step(done, plan.steps, training.losses, state) or stop
                if stop:
                    break
            if best is not None and done % best.rule.every:
                best.check()
        finally:
            training.close()
    everyone = torch.ones(problem.targets.shape[0], dtype=torch.bool)  # there is no criterion
    params = training.params() if best is None else best.params
    return Trained(params=params, converged=everyone, n_steps=done)


def _start(
    problem: TrainingProblem, rule: Rule, plan: Plan, seed: int
) -> tuple[_Training, Best | None]:
    if plan.early_stopping is None:
        return _Training(problem, rule, plan, seed), None
    kept, held_out = plan.early_stopping.split(problem, seed)
    training = _Training(kept, rule, plan, seed)
    losses = partial(training.losses_on, held_out)
    return training, Best(plan.early_stopping, losses, training.params)


def _state(done: int, training: _Training, best: Best | None) -> State:
    state = {"steps": torch.tensor(done)} | training.state()
    return state if best is None else state | best.state()


def _resume(monitor: Monitor | None, training: _Training, best: Best | None) -> int:
    """Return the number of steps that are done."""
    state = None if monitor is None else monitor.resume()
    if state is None:
        return 0
    training.restore(state)
    if best is not None:
        best.restore(state)
    return int(state["steps"])


class _Training:
    """The members in training: leaves, and one step of all of them."""

    def __init__(self, problem: TrainingProblem, rule: Rule, plan: Plan, seed: int) -> None:
        self._rule, self._plan = rule, plan
        self._problem = problem = _on_device(problem)
        device, n = problem.inputs.device, problem.inputs.shape[0]
        self._batches = Batches(n, plan.batch_size, seed, device)
        self._rows = None if self._batches.full else self._batches.rows(0).clone()
        rates = [rule.rates(i + 1, plan.rate * plan.schedule(i / plan.steps))
                 for i in range(plan.steps)]  # fmt: skip
        # a GPU reads its rate from memory, so that a captured step can have another next time
        exact = device.type == "cpu" or problem.targets.dtype == torch.float64
        dtype = torch.float64 if exact else torch.float32
        self._table = torch.tensor(rates, dtype=torch.float64).to(device, dtype)
        self._rates = self._table[0].clone()
        self.losses = torch.zeros(problem.targets.shape[0], device=device).to(problem.targets)
        # Λ that differs within a tensor cannot be a factor of the rate: such a tensor is whitened
        self._whitening = {
            name: value.rsqrt()
            for name, value in problem.precision.items()
            if not bool((value == value.flatten()[0]).all())
        }
        self._compiled: Callable[[list[Tensor]], Tensor] | None = None
        if plan.execution.compile:
            self._compiled = torch.compile(self._member_losses, dynamic=False)
        self.leaves = self._new_leaves()
        self._run = plan.execution.runner(self._step, device)

    def step(self, done: int) -> None:
        """Take the step after `done` others."""
        self._rates.copy_(self._table[done])
        if self._rows is not None:
            self._rows.copy_(self._batches.rows(done))
        self._run()

    def close(self) -> None:
        """Free what steps need, a graph's memory above all, before any garbage collection."""
        del self._run, self._compiled

    def params(self) -> Params:
        """Return copies of the parameters, in the network's own shape and layout."""
        return {
            name: value.detach().clone(memory_format=torch.contiguous_format)
            for name, value in self._unwhitened(self._values()).items()
        }

    def losses_on(self, problem: TrainingProblem) -> Float[Tensor, " m"]:
        """Return each member's loss on another problem's rows."""
        with torch.no_grad(), self._plan.execution.forward_pass(problem.inputs.device):
            return member_losses(problem, self._unwhitened(self._values()), None)

    def state(self) -> State:
        """Return all that further steps depend on."""
        state = {}
        for name, leaf in self.leaves.items():
            state[f"leaf/{name}"] = leaf.value.detach()
            state |= {f"slot{i}/{name}": leaf.shaped(s) for i, s in enumerate(leaf.slots)}
        return state

    def restore(self, state: State) -> None:
        """Go back to a state."""
        for key, value in self.state().items():
            value.copy_(state[key])

    def _step(self) -> None:
        leaves = list(self.leaves.values())
        values = [leaf.value for leaf in leaves]
        losses, gradients = self._losses_and_gradients(values)
        self.losses.copy_(losses)
        with torch.no_grad():
            dense = _unshared([
                leaf.dense_gradient(gradient)
                for leaf, gradient in zip(leaves, gradients, strict=True)
            ])
            self._rule.update(leaves, dense, self._rates)

    def _losses_and_gradients(self, values: list[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        with self._plan.execution.forward_pass(self._problem.inputs.device):
            losses = (self._compiled or self._member_losses)(values)
        return losses.detach(), torch.autograd.grad(losses.sum(), values)

    def _member_losses(self, values: list[Tensor]) -> Tensor:
        named = dict(zip(self._problem.start, values, strict=True))
        return member_losses(self._problem, self._unwhitened(named), self._rows)

    def _new_leaves(self) -> dict[str, Leaf]:
        problem = self._problem
        pull = problem.loss.pull / problem.inputs.shape[0]
        start = {k: self._whitened(k, v) for k, v in problem.start.items()}
        center = {k: self._whitened(k, v) for k, v in (problem.center or {}).items()}
        probes = [value.detach().clone().requires_grad_() for value in start.values()]
        _, gradients = self._losses_and_gradients(probes)
        leaves = {}
        for (name, value), gradient in zip(start.items(), gradients, strict=True):
            precision = 1.0
            if name not in self._whitening:
                precision = float(problem.precision[name].flatten()[0])
            leaves[name] = new_leaf(
                value, gradient, n_slots=self._rule.n_slots, center=center.get(name),
                decay=pull * precision, scale=precision**-0.5,
            )  # fmt: skip
        return leaves

    def _values(self) -> Params:
        return {name: leaf.value for name, leaf in self.leaves.items()}

    def _whitened(self, name: str, value: Tensor) -> Tensor:
        return value / self._whitening[name] if name in self._whitening else value

    def _unwhitened(self, params: Params) -> Params:
        if not self._whitening:
            return params
        return {k: v * self._whitening[k] if k in self._whitening else v for k, v in params.items()}


def member_losses(
    problem: TrainingProblem, params: Params, rows: Tensor | None
) -> Float[Tensor, " m"]:
    """Return each member's weighted loss, averaged over rows; None for all rows."""
    x, targets, offset, weight = (
        problem.inputs, problem.targets, problem.offset, problem.row_weight
    )  # fmt: skip
    if rows is not None:
        x, targets = x[rows], targets[:, rows]
        offset = None if offset is None else offset[:, rows]
        weight = None if weight is None else weight[rows]

    def value(member: Params, shift: Shift) -> Tensor:
        return problem.value(problem.network, member, shift, x)

    if targets.shape[0] == 1:  # alone, it needs no transform, which takes a millisecond
        shift = {name: _alone(part) for name, part in problem.shift.items()}
        values = value(_alone(params), shift).unsqueeze(0)
    else:
        values = over_members(value, params, problem.shift, network=problem.network)
    values = values.to(next(iter(params.values())))  # a lower precision ends here
    each = problem.loss(values if offset is None else values + offset, targets)
    return (each if weight is None else weight * each).sum(-1) / x.shape[0]


def _alone(params: Params) -> Params:
    return {name: value.squeeze(0) for name, value in params.items()}


def _on_device(problem: TrainingProblem) -> TrainingProblem:
    """Return the problem with its loss's numbers on the device: a graph cannot fetch them."""
    loss: Any = problem.loss
    names = [field.name for field in fields(loss)] if is_dataclass(loss) else []
    held = {name: getattr(loss, name) for name in names}
    moved = {k: v.to(problem.inputs.device) for k, v in held.items() if isinstance(v, Tensor)}
    return replace(problem, loss=replace(loss, **moved)) if moved else problem


def _unshared(gradients: list[Tensor]) -> list[Tensor]:
    """Return the gradients, copied where two are the same memory: updates may spend them."""
    seen: set[int] = set()
    result = []
    for gradient in gradients:
        known = gradient.data_ptr() in seen
        result.append(gradient.clone() if known else gradient)
        seen.add(gradient.data_ptr())
    return result
