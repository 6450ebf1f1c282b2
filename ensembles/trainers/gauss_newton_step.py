"""One step of damped Gauss–Newton in function space, for many members side by side.

At a point θ with residual e, Jacobian J and d = θ − c, a step s solves
(JᵀJ + (σ² + λ)Λ)s = Jᵀe − σ²Λd (where data are functions H of all values, J is H times the
network's). By Woodbury's identity, with μ = σ² + λ, K = JΛ⁻¹Jᵀ and
a = (K + μI)⁻¹(e + σ²/μ·Jd), it is s = Λ⁻¹Jᵀa − σ²/μ·d: one system of the size of the data a member.
The damping λ follows, member by member, the ratio ρ of the actual to the predicted decrease
(Levenberg, 1944; Marquardt, 1963), smoothly: λ is multiplied by 2^(1 − 2ρ), between ½ and 8.

Far from a minimum the loss has directions of negative curvature that J does not show, so that λ
stays well above σ² and steps are short. Steps therefore start at θ + β(θ − θ'), with θ' the
parameters before the last step (Nesterov, 1983); β grows as in his method, to λ/(λ + 2σ²) at most,
and is 0 again after a step that would not lower the loss (O'Donoghue and Candès, 2015).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ensembles.evaluation import over_members
from ensembles.linearisation import Linearisation
from ensembles.losses import SquaredError
from ensembles.methods.protocol import Params
from ensembles.trainers.observation import observed_kernel
from ensembles.trainers.problem import TrainingProblem

LARGEST_RISE = 8.0  # of λ in one step
LINEAR = 0.05  # a ratio ρ as near to 1 as this lets λ fall faster than by half
LARGEST_DAMPING = 1e8  # relative to the kernel's diagonal; a member that needs more is stuck
SMALLEST_DAMPING = 1e-10


@dataclass(frozen=True, kw_only=True)
class Members:
    """Members in training; all tensors have them in the first dimension.

    Attributes:
        numbers: their places in the problem.
        params: θ.
        previous: θ', before the last step that was taken.
        loss: ½‖e‖² + ½σ²‖θ − c‖²_Λ, a sum over the data.
        data_loss: ½‖e‖².
        damping: λ.
        age: steps that were taken since β was 0.
        time_left: of the flow; infinite where there is a regulariser.
        done: which are trained.
        stuck: which of these did not converge.
    """

    numbers: Int[Tensor, " m"]
    params: Params
    previous: Params
    loss: Float[Tensor, " m"]
    data_loss: Float[Tensor, " m"]
    damping: Float[Tensor, " m"]
    age: Float[Tensor, " m"]
    time_left: Float[Tensor, " m"]
    done: Bool[Tensor, " m"]
    stuck: Bool[Tensor, " m"]

    def kept(self, which: Tensor) -> Members:
        """Return some of the members, by mask or number."""
        params, previous = (
            {name: value[which] for name, value in given.items()}
            for given in (self.params, self.previous)
        )
        vectors = {name: getattr(self, name)[which] for name in VECTORS}
        return Members(params=params, previous=previous, **vectors)


VECTORS = ("numbers", "loss", "data_loss", "damping", "age", "time_left", "done", "stuck")


def kept_problem(problem: TrainingProblem, which: Tensor) -> TrainingProblem:
    """Return the problem of some members, by mask or number; `start` is left as it is."""

    def keep(params: Params) -> Params:
        return {name: value[which] for name, value in params.items()}

    return replace(
        problem,
        targets=problem.targets[which],
        center=None if problem.center is None else keep(problem.center),
        shift={name: keep(params) for name, params in problem.shift.items()},
    )


@dataclass(frozen=True, kw_only=True)
class Step:
    """What all steps share.

    A member that is alone goes through a step beside a copy of itself: batches of one take other
    kernels, whose rounding hundreds of steps would amplify into another member.

    Attributes:
        ready: the network at the data, to be linearised.
        initial_damping: λ at the first step, relative to the mean diagonal of K.
        tolerance: a member is done when a step lowers its loss by less than this part.
    """

    ready: Linearisation
    initial_damping: float
    tolerance: float

    def start(self, problem: TrainingProblem) -> Members:
        """Return the members at their start, with λ still to be chosen."""
        if len(problem.targets) == 1:
            both = torch.zeros(2, dtype=torch.long, device=problem.targets.device)
            start = {name: value[both] for name, value in problem.start.items()}
            return self.start(replace(kept_problem(problem, both), start=start)).kept(both[:1])
        zeros = problem.targets.new_zeros(len(problem.targets), dtype=torch.float64)
        data_loss = _half_square(self._residual(problem, problem.start))
        loss = data_loss
        if problem.center is not None:
            change = {k: problem.start[k] - c for k, c in problem.center.items()}
            loss = data_loss + 0.5 * problem.loss.pull * self.ready.squared_norm(change)
        no = torch.zeros_like(zeros, dtype=torch.bool)
        return Members(
            numbers=torch.arange(len(zeros), device=zeros.device),
            params=problem.start,
            previous=problem.start,
            loss=loss,
            data_loss=data_loss,
            damping=zeros,
            age=zeros,
            time_left=zeros + (math.inf if problem.center is not None else 1 / problem.loss.pull),
            done=no,
            stuck=no,
        )

    def __call__(self, problem: TrainingProblem, now: Members, *, first: bool) -> Members:
        """Return the members after one step.

        Args:
            problem: of these members.
            now: the members.
            first: whether λ is still to be chosen.

        Returns:
            The members; those that were done are as they were.
        """
        if len(now.numbers) == 1:
            both = torch.zeros_like(now.numbers).repeat(2)
            stepped = self(kept_problem(problem, both), now.kept(both), first=first)
            return stepped.kept(both[:1])
        center, weight, observe = problem.center, _weight(problem), problem.observation
        noise = 0.0 if center is None else problem.loss.pull
        # a moved start would have no place on the flow that members without a regulariser follow
        point = now.params if center is None else _extrapolated(now, _momentum(now, noise))
        fixed = problem.linearised_at({}, problem.shift)  # where J does not move with θ
        linear = self.ready.at(problem.linearised_at(point, problem.shift))
        residual = (
            self._residual(problem, point)
            if fixed
            else weight * (problem.targets - observe(linear.values))
        )
        m, n, k = residual.shape
        kernel = observed_kernel(observe, linear.kernel(), self.ready.n_outputs).double()
        flat_weight = weight.double().expand(n, k).T.flatten()  # the points run fastest
        kernel = kernel * flat_weight.unsqueeze(1) * flat_weight
        # a row without weight is as none
        scale = kernel.diagonal(dim1=1, dim2=2).sum(1) / (flat_weight != 0).sum()
        damping = self.initial_damping * scale if first else now.damping
        damping = torch.zeros_like(scale) if fixed else torch.maximum(damping, 1 / now.time_left)

        total = noise + damping
        pull = noise / total  # σ²/μ
        rows = residual.transpose(1, 2).flatten(1).double()
        if center is None:
            distance, moved = torch.zeros_like(scale), torch.zeros_like(rows)
            trial = {name: value.clone() for name, value in point.items()}
        else:
            change = {name: point[name] - value for name, value in center.items()}
            distance = self.ready.squared_norm(change)
            moved = weight * observe(linear.times(change))  # J·d
            moved = moved.transpose(1, 2).flatten(1).double()
            trial = {
                name: torch.addcmul(value, change[name], _per_member(-pull, value))
                for name, value in point.items()
            }
        solved = _solve(kernel, total, rows + pull.unsqueeze(1) * moved)
        pulled = weight * solved.view(m, k, n).transpose(1, 2).to(residual)
        linear.add_preconditioned_transpose(trial, observe.transpose(pulled))

        # inner products of the step in the metric Λ, from function space alone
        curved = (kernel @ solved.unsqueeze(2)).squeeze(2)
        crossed = (solved * moved).sum(1)
        step_offset = crossed - pull * distance
        step_step = (solved * curved).sum(1) - 2 * pull * crossed + pull**2 * distance
        slope = ((curved - pull.unsqueeze(1) * moved) * rows).sum(1) - noise * step_offset
        predicted = 0.5 * slope + 0.5 * damping * step_step

        data_loss = _half_square(self._residual(problem, trial))
        loss = data_loss + 0.5 * noise * (distance + 2 * step_offset + step_step)
        here = _half_square(residual) + 0.5 * noise * distance
        ratio = (here - loss) / predicted
        ratio = torch.where(ratio.isfinite(), ratio, -1.0)
        accepted = (loss.isfinite() if fixed else loss < now.loss) & ~now.done
        time_left = torch.where(accepted, now.time_left - 1 / damping, now.time_left)
        damping = (damping * _damping_factor(ratio)).clamp(min=SMALLEST_DAMPING * scale)
        stuck = ~accepted if fixed else ~(damping < LARGEST_DAMPING * scale)
        small = torch.maximum(predicted, now.loss - loss) < self.tolerance * now.loss
        # the loss cannot show a decrease below its rounding error
        least = 32 * torch.finfo(residual.dtype).eps * here
        exact = (predicted.abs() < least) & (total < scale) & (now.age == 0)
        # rounding may leave a rest of time
        done = stuck | exact | (accepted & small) | (time_left < 1e-9 / damping)
        return Members(
            numbers=now.numbers,
            params=_chosen(accepted, trial, now.params),
            previous=now.params,
            loss=torch.where(accepted, loss, now.loss),
            data_loss=torch.where(accepted, data_loss, now.data_loss),
            damping=damping,
            age=torch.where(accepted, now.age + 1, 0.0),
            time_left=time_left,
            done=now.done | done if not fixed else torch.ones_like(done),
            stuck=now.stuck | (stuck & ~now.done),
        )

    def _residual(self, problem: TrainingProblem, params: Params) -> Float[Tensor, "m n k"]:
        def at(x: Tensor) -> Tensor:
            return over_members(
                lambda member, shift: problem.value(problem.network, member, shift, x),
                params,
                problem.shift,
                network=problem.network,
            )

        blocks = [at(problem.inputs[points]) for points in self.ready.blocks(len(problem.targets))]
        return _weight(problem) * (problem.targets - problem.observation(torch.cat(blocks, dim=1)))


def _weight(problem: TrainingProblem) -> Float[Tensor, "#n k"]:
    """Return the square roots of what multiplies each squared residual."""
    assert isinstance(problem.loss, SquaredError)
    weight = problem.loss.output_weight.to(problem.targets).unsqueeze(0)
    return weight if problem.row_weight is None else weight * problem.row_weight.sqrt().unsqueeze(1)


def _momentum(now: Members, noise: float) -> Float[Tensor, " m"]:
    """Return β: Nesterov's, but little where λ is, as steps then converge by themselves."""
    return torch.minimum(now.age / (now.age + 3), now.damping / (now.damping + 2 * noise))


def _extrapolated(now: Members, momentum: Float[Tensor, " m"]) -> Params:
    return {
        name: torch.lerp(now.previous[name], value, _per_member(1 + momentum, value))
        for name, value in now.params.items()
    }


def _damping_factor(ratio: Float[Tensor, " m"]) -> Float[Tensor, " m"]:
    """Return what multiplies λ, a continuous function of ρ: no rounding error tips a choice."""
    factor = torch.exp2((1 - 2 * ratio).clamp(min=-1, max=math.log2(LARGEST_RISE)))
    return factor * ((1 - ratio).abs() / LINEAR).clamp(min=0.1, max=1)


def _solve(
    kernel: Float[Tensor, "m r r"], diagonal: Float[Tensor, " m"], right: Float[Tensor, "m r"]
) -> Float[Tensor, "m r"]:
    """Return (K + μI)⁻¹r; NaN for a member whose matrix is not positive definite."""
    matrix = kernel.clone()
    matrix.diagonal(dim1=1, dim2=2).add_(diagonal.unsqueeze(1))
    factor, failed = torch.linalg.cholesky_ex(matrix)
    solved = torch.cholesky_solve(right.unsqueeze(2), factor).squeeze(2)
    return torch.where(failed.unsqueeze(1) > 0, torch.nan, solved)


def _half_square(residual: Float[Tensor, "m n k"]) -> Float[Tensor, " m"]:
    return 0.5 * (residual.double() ** 2).sum((1, 2))


def _per_member(values: Float[Tensor, " m"], like: Tensor) -> Tensor:
    return values.to(like.dtype).view(-1, *[1] * (like.ndim - 1))


def _chosen(accepted: Bool[Tensor, " m"], trial: Params, old: Params) -> Params:
    if accepted.device.type == "cpu":  # where it is cheap to ask which, and copies are dear
        for i in (~accepted).nonzero().flatten().tolist():
            for name, value in trial.items():
                value[i] = old[name][i]
        return trial
    return {
        name: torch.where(accepted.view(-1, *[1] * (value.ndim - 1)), value, old[name])
        for name, value in trial.items()
    }
