"""How any members of a fit are trained, here or elsewhere: all that they share, as one object."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ensembles.evaluation import over_members
from ensembles.lone_member import train_beside_a_copy
from ensembles.losses import Loss
from ensembles.member_problem import started_from, training_problem
from ensembles.methods.protocol import Method, Params, Shift
from ensembles.trainers.gauss_newton import SMALLEST_BLOCK
from ensembles.trainers.member_size import member_size
from ensembles.trainers.monitor import Monitor
from ensembles.trainers.problem import Trained, Trainer, TrainingProblem

CPU_BUDGET = 2**28  # so many small members share the cost of an operation
CPU_ALONE = 2**24  # bytes of a member that fills the cache by itself, and gains from no others
DEVICE_BUDGET = 2**33

Part = tuple[Shift, Trained, Tensor]  # a chunk: its fixed function, and which members are finite


@dataclass(frozen=True, kw_only=True)
class MemberTraining:
    """The training of any members of one fit; see `fit_members` for what is what.

    Attributes:
        network: the module, prepared.
        x: inputs.
        y: targets.
        method: what is fixed, regularised and perturbed.
        trainer: trains members side by side.
        loss: of one datum.
        seed: member i depends on it and on i alone.
        row_weight: of the data.
        memory_budget: bytes that members trained at once may take; None for the trainer's, or
            what suits the device.
        start: where training starts, by the member's number, in place of θ₀.
    """

    network: nn.Module
    x: Float[Tensor, "n ..."]
    y: Float[Tensor, "n k"]
    method: Method
    trainer: Trainer
    loss: Loss
    seed: int
    row_weight: Float[Tensor, " n"] | None
    memory_budget: int | None
    start: Mapping[int, Params] | None

    @property
    def bytes_per_member(self) -> int:
        """About what one member takes in training."""
        size = member_size(self.network, self.method, self.x, self.y.shape[1])
        return self.trainer.bytes_per_member(size)

    def at_once(self, device_type: str) -> int:
        """Return how many members should fit a device of this type; 0 for none but one."""
        each = self.bytes_per_member
        return (self._given_budget or _default_budget(device_type, each)) // each

    def train(self, numbers: range, monitor: Monitor) -> tuple[Trained, Part]:
        """Draw and train members.

        Args:
            numbers: theirs.
            monitor: watches the steps.

        Returns:
            The members, and what the fit makes of them.
        """
        problem = self._problem(numbers)
        train = self.trainer.train
        if len(numbers) == 1 and self._could_have_company(problem):
            train = partial(train_beside_a_copy, self.trainer)
        trained = train(problem, seed=self.seed, monitor=monitor)
        return trained, _part(problem, trained)

    def read(self, numbers: range, trained: Trained) -> Part:
        """Return what `train` would make of members that are trained already."""
        return _part(self._problem(numbers), trained)

    def on(self, device: torch.device) -> MemberTraining:
        """Return the same training on another device; this one stays as it is."""
        moved: MemberTraining = _moved(self, device)
        return moved

    @property
    def _given_budget(self) -> int | None:
        return self.memory_budget or self.trainer.memory_budget

    def _could_have_company(self, problem: TrainingProblem) -> bool:
        """Return whether, elsewhere, others would train beside a member, and rounding matter."""
        device = problem.targets.device.type
        exact = device == "cpu" and problem.targets.dtype == torch.float64
        return exact and self.at_once(device) > 1

    def _problem(self, numbers: range) -> TrainingProblem:
        budget = self._given_budget
        problem = training_problem(
            self.network, self.x, self.y, method=self.method, numbers=numbers, loss=self.loss,
            seed=self.seed, row_weight=self.row_weight,
            # of few points at a time δ would round otherwise
            memory_budget=None if budget is None else max(SMALLEST_BLOCK, budget),
        )  # fmt: skip
        return problem if self.start is None else started_from(problem, numbers, self.start)


def _default_budget(device_type: str, each: int) -> int:
    if device_type != "cpu":
        return DEVICE_BUDGET
    return 1 if each > CPU_ALONE else CPU_BUDGET


def _finite(problem: TrainingProblem, params: Params) -> Bool[Tensor, " m"]:
    """Return which members have finite parameters and finite values at (a thousand) data."""
    x = problem.inputs[:1000]
    with torch.no_grad():
        values = over_members(
            lambda p, s: problem.value(problem.network, p, s, x),
            params,
            problem.shift,
            network=problem.network,
        )
    each = [value.flatten(1).isfinite().all(1) for value in (values, *params.values())]
    return torch.stack(each).all(0)


def _part(problem: TrainingProblem, trained: Trained) -> Part:
    finite = _finite(problem, trained.params)
    # dictionaries of its own, which `Gathered` empties
    shift = {name: dict(params) for name, params in problem.shift.items()}
    return shift, replace(trained, params=dict(trained.params)), finite


def _moved(value: Any, device: torch.device) -> Any:
    """Return data on another device: tensors, modules, mappings and dataclasses of them."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, nn.Module):
        here = {tensor.device for tensor in (*value.parameters(), *value.buffers())}
        return value if here <= {device} else copy.deepcopy(value).to(device)
    if isinstance(value, Mapping):
        return {key: _moved(one, device) for key, one in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        held = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        moved = {name: _moved(one, device) for name, one in held.items()}
        changed = {name: one for name, one in moved.items() if one is not held[name]}
        return replace(value, **changed) if changed else value
    return value
