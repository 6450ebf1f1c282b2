"""Second-order training in function space, for small data: damped Gauss–Newton.

With residual e, Jacobian J and d = θ − c, a step s solves (JᵀJ + (σ² + λ)Λ)s = Jᵀe − σ²Λd. By
Woodbury's identity, with μ = σ² + λ, K = JΛ⁻¹Jᵀ and a = (K + μI)⁻¹(e + σ²/μ·Jd), it is
s = Λ⁻¹Jᵀa − σ²/μ·d: one system of the size of the data a member. The damping λ follows, member by
member, the ratio of the actual to the predicted decrease (Levenberg, 1944; Marquardt, 1963).

A step with damping λ is an implicit Euler step of length 1/λ of the gradient flow that Λ⁻¹
preconditions. Members without a regulariser have no σ in their loss, so a limit of their flow that
nothing defines but the data's noise: they stop when these lengths add up to 1/σ², where a mode of
K is as much damped as σ² would damp it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bayesnn.checks import check_count, check_positive
from ensembles.evaluation import over_members
from ensembles.linearisation import jacobian
from ensembles.losses import SquaredError
from ensembles.methods.protocol import Params
from ensembles.trainers.monitor import Monitor
from ensembles.trainers.problem import Trained, TrainingProblem

FACTOR = 3.0  # by which λ falls after a good step and rises after a bad one
GOOD, BAD = 0.75, 0.25  # ratios of actual to predicted decrease
LARGEST_DAMPING = 1e8  # relative to the kernel's diagonal; a member that needs more is stuck
SMALLEST_DAMPING = 1e-8


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

    def bytes_per_member(self, n_params: int, n_points: int, n_outputs: int, itemsize: int) -> int:
        """Return about what one member takes: copies of its parameters, kernels, activations."""
        rows = n_points * n_outputs
        return 8 * n_params * itemsize + 4 * rows**2 * 8 + 16 * rows * int(n_params**0.5) * itemsize

    def train(
        self,
        problem: TrainingProblem,
        *,
        seed: int,  # noqa: ARG002
        monitor: Monitor | None = None,  # noqa: ARG002
    ) -> Trained:
        """Return the trained members; `seed` is unused, as nothing is drawn."""
        if not isinstance(problem.loss, SquaredError):
            raise ValueError(
                f"trainer: gauss_newton minimises squares only, and the loss is "
                f"{type(problem.loss).__name__}; use adam()."
            )
        with torch.no_grad():
            return _train(self, problem)


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
            trained in chunks. By default 128 MiB on a CPU, where what fits the cache trains
            faster, and 8 GiB elsewhere.

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


@dataclass(kw_only=True)
class _State:
    """Members still in training; all tensors have them in the first dimension."""

    problem: TrainingProblem
    members: Tensor  # their places in the whole problem
    params: Params
    residual: Tensor
    distance: Tensor  # ‖θ − c‖²_Λ, float64
    damping: Tensor  # λ, float64
    time_left: Tensor  # of the flow; infinite where there is a regulariser
    done: Tensor = field(init=False)
    stuck: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.done = torch.zeros_like(self.members, dtype=torch.bool)
        self.stuck = torch.zeros_like(self.done)

    @property
    def noise(self) -> float:
        return self.problem.loss.pull if self.problem.center is not None else 0.0

    def loss(self, residual: Tensor, distance: Tensor) -> Float[Tensor, " m"]:
        return 0.5 * (residual.double() ** 2).sum((1, 2)) + 0.5 * self.noise * distance


def _train(settings: GaussNewton, problem: TrainingProblem) -> Trained:
    m = problem.targets.shape[0]
    device = problem.targets.device
    converged = torch.zeros(m, dtype=torch.bool, device=device)
    result = {name: value.clone() for name, value in problem.start.items()}
    state = _start(problem)
    n_steps = 0
    for n_steps in range(1, settings.max_steps + 1):
        _step(settings, state, first=n_steps == 1)
        if 4 * int(state.done.sum()) >= len(state.done):
            _write(result, state)
            converged[state.members[state.done & ~state.stuck]] = True
            state = _keep(state, ~state.done)
            if len(state.members) == 0:
                break
    _write(result, state)
    converged[state.members[state.done & ~state.stuck]] = True
    return Trained(params=result, converged=converged, n_steps=n_steps)


def _start(problem: TrainingProblem) -> _State:
    m = problem.targets.shape[0]
    zeros = torch.zeros(m, dtype=torch.float64, device=problem.targets.device)
    distance = zeros
    if problem.center is not None:
        for name, precision in problem.precision.items():
            change = problem.start[name] - problem.center[name]
            distance = distance + (change**2 * precision).flatten(1).sum(1)
    return _State(
        problem=problem,
        members=torch.arange(m, device=problem.targets.device),
        params=problem.start,
        residual=_residual(problem, problem.start),
        distance=distance,
        damping=zeros.clone(),
        time_left=zeros + (math.inf if problem.center else 1 / problem.loss.pull),
    )


def _weight(problem: TrainingProblem) -> Float[Tensor, "#n k"]:
    """Return the square roots of what multiplies each squared residual."""
    assert isinstance(problem.loss, SquaredError)
    weight = problem.loss.output_weight.to(problem.targets).unsqueeze(0)
    return weight if problem.row_weight is None else weight * problem.row_weight.sqrt().unsqueeze(1)


def _residual(problem: TrainingProblem, params: Params) -> Float[Tensor, "m n k"]:
    values = over_members(
        lambda member, shift: problem.value(problem.network, member, shift, problem.inputs),
        params,
        problem.shift,
    )
    return _weight(problem) * (problem.targets - values)


def _step(settings: GaussNewton, state: _State, *, first: bool) -> None:
    problem, weight, noise = state.problem, _weight(state.problem), state.noise
    m, n, k = state.residual.shape
    linear = jacobian(
        problem.network, problem.linearised_at(state.params, problem.shift), problem.inputs
    )
    flat_weight = weight.double().expand(n, k).T.flatten()  # the points run fastest
    kernel = linear.kernel().double() * flat_weight.unsqueeze(1) * flat_weight
    scale = kernel.diagonal(dim1=1, dim2=2).mean(1)
    if first:
        state.damping = settings.initial_damping * scale
    damping = torch.maximum(state.damping, 1 / state.time_left)
    total = noise + damping
    pull = noise / total  # σ²/μ
    rows = state.residual.transpose(1, 2).flatten(1).double()
    moved = torch.zeros_like(rows)  # J·d
    if problem.center is not None:
        change = linear.times(state.params) - linear.times(problem.center)
        moved = (weight * change).transpose(1, 2).flatten(1).double()
    solved = _solve(kernel, total, rows + pull.unsqueeze(1) * moved)

    trial = linear.preconditioned_transpose(
        weight * solved.view(m, k, n).transpose(1, 2).to(state.residual)
    )
    for name, value in trial.items():  # in place: copies of the parameters cost most of a step
        if problem.center is None:
            value += state.params[name]
        else:
            value.addcmul_(state.params[name], _per_member(1 - pull, value))
            value.addcmul_(problem.center[name], _per_member(pull, value))

    # inner products of the step in the metric Λ, from function space alone
    curved = (kernel @ solved.unsqueeze(2)).squeeze(2)
    crossed = (solved * moved).sum(1)
    step_offset = crossed - pull * state.distance
    step_step = (solved * curved).sum(1) - 2 * pull * crossed + pull**2 * state.distance
    slope = ((curved - pull.unsqueeze(1) * moved) * rows).sum(1) - noise * step_offset
    predicted = 0.5 * slope + 0.5 * damping * step_step

    residual = _residual(problem, trial)
    distance = state.distance + 2 * step_offset + step_step
    loss = state.loss(state.residual, state.distance)
    ratio = (loss - state.loss(residual, distance)) / predicted
    ratio = torch.where(ratio.isfinite(), ratio, -1.0)
    accepted = (ratio > 1e-3) & ~state.done
    _accept(state, accepted, trial, residual, distance)
    state.time_left = torch.where(accepted, state.time_left - 1 / damping, state.time_left)
    state.damping = torch.where(
        ratio > GOOD,
        damping / FACTOR,
        torch.where(ratio < BAD, damping * FACTOR, damping),
    ).clamp(min=SMALLEST_DAMPING * scale)
    state.stuck |= ~state.done & ~(state.damping < LARGEST_DAMPING * scale)
    # rounding may leave a rest of time
    state.done |= state.time_left < 1e-9 / damping
    state.done |= state.stuck | (accepted & (predicted < settings.tolerance * loss))


def _solve(
    kernel: Float[Tensor, "m r r"], diagonal: Float[Tensor, " m"], right: Float[Tensor, "m r"]
) -> Float[Tensor, "m r"]:
    """Return (K + μI)⁻¹r; NaN for a member whose matrix is not positive definite."""
    eye = torch.eye(kernel.shape[1], dtype=kernel.dtype, device=kernel.device)
    factor, failed = torch.linalg.cholesky_ex(kernel + diagonal.view(-1, 1, 1) * eye)
    solved = torch.cholesky_solve(right.unsqueeze(2), factor).squeeze(2)
    return torch.where(failed.unsqueeze(1) > 0, torch.nan, solved)


def _per_member(values: Float[Tensor, " m"], like: Tensor) -> Tensor:
    return values.to(like.dtype).view(-1, *[1] * (like.ndim - 1))


def _accept(
    state: _State, accepted: Bool[Tensor, " m"], trial: Params, residual: Tensor, distance: Tensor
) -> None:
    state.residual = torch.where(accepted.view(-1, 1, 1), residual, state.residual)
    state.distance = torch.where(accepted, distance, state.distance)
    if not bool(accepted.all()):
        for name, value in trial.items():
            value[~accepted] = state.params[name][~accepted]
    state.params = trial


def _write(result: Params, state: _State) -> None:
    for name, value in state.params.items():
        result[name][state.members] = value


def _keep(state: _State, mask: Bool[Tensor, " m"]) -> _State:
    def keep(params: Params) -> Params:
        return {name: value[mask] for name, value in params.items()}

    problem = replace(
        state.problem,
        targets=state.problem.targets[mask],
        start=state.params,
        center=None if state.problem.center is None else keep(state.problem.center),
        shift={name: keep(params) for name, params in state.problem.shift.items()},
    )
    return _State(
        problem=problem,
        members=state.members[mask],
        params=keep(state.params),
        residual=state.residual[mask],
        distance=state.distance[mask],
        damping=state.damping[mask],
        time_left=state.time_left[mask],
    )
