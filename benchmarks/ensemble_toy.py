"""How long does the paper's toy take, by gradient descent as published and by Gauss–Newton?

    python benchmarks/ensemble_toy.py [--quick] [--cpu] [--objective J] [--out DIR]

The reference is gradient descent on all data in standard parametrisation with learning rate 1e-3,
50,000 steps (He, Lakshminarayanan, Teh, 2020, arXiv 2007.05864), for 20 members of NTKGP-param,
MLP 2×512 with erf, 20 points, noise 0.1, float32. Its steps are timed in a plain loop over members
(500 steps of two members, scaled: every step does the same work) and run side by side in full,
which gives the objective to reach. Gauss–Newton has its defaults and never sees that objective.
--quick takes 1,000 steps of gradient descent for the reference: a few minutes on two CPU cores,
where 50,000 take an hour or more. --objective gives the mean objective that all steps reached on
another machine, from the same draws; both ways of gradient descent are then timed on 500 steps and
scaled. A part that fails leaves the others their rows.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from bayesnn.networks import Erf, StandardLinear, mlp  # noqa: E402
from benchmarks.report import Report  # noqa: E402
from benchmarks.training.setting import NOISE, Setting, squares  # noqa: E402
from benchmarks.training.setting import toy_rows as toy_data  # noqa: E402
from benchmarks.training.toy_outcome import COLUMNS, Outcome  # noqa: E402
from ensembles import gauss_newton, ntkgp_param  # noqa: E402
from ensembles.evaluation import member_values, over_members  # noqa: E402
from ensembles.fit import training_problem  # noqa: E402
from ensembles.methods.protocol import Params  # noqa: E402
from ensembles.trainers.execution import Execution  # noqa: E402
from ensembles.trainers.monitor import State  # noqa: E402
from ensembles.trainers.problem import TrainingProblem  # noqa: E402
from tests.reference.erf_kernels import erf_mlp_kernels, gp_posterior_naive  # noqa: E402

MEMBERS, POINTS, STEPS, QUICK_STEPS = 20, 20, 50_000, 1000
LEARNING_RATE = 1e-3
LOOP_STEPS, LOOP_WARM_UP, LOOP_MEMBERS = 500, 50, 2
NETWORK = {"depth": 2, "weight_std": 1.5, "bias_std": 0.05}


@dataclass(kw_only=True)
class Toy:
    """The members to train, drawn once; all ways start from the same parameters."""

    setting: Setting
    problem: TrainingProblem = field(init=False)

    def __post_init__(self) -> None:
        device = self.setting.device
        network = mlp(
            in_features=1, out_features=1, width=512, activation=Erf(), linear=StandardLinear,
            **NETWORK,
        ).to(device)  # fmt: skip
        x, y = toy_data(POINTS, device)
        self.clean = y
        self.problem = training_problem(
            network, x, y, method=ntkgp_param(), numbers=range(MEMBERS), loss=squares(device),
            seed=0,
        )  # fmt: skip

    @property
    def steps(self) -> int:
        """Steps of gradient descent."""
        return QUICK_STEPS if self.setting.quick else STEPS

    @property
    def shrink(self) -> dict[str, float]:
        """What a step of gradient descent takes off θ − c, by tensor; Λ is one number in each."""
        rate = LEARNING_RATE * self.problem.loss.pull / POINTS
        return {name: rate * float(v.flatten()[0]) for name, v in self.problem.precision.items()}

    def values(self, params: Params) -> Tensor:
        """Return f(x, θ) of all members."""
        problem = self.problem
        return over_members(
            lambda member, shift: problem.value(problem.network, member, shift, problem.inputs),
            params, problem.shift,
        )  # fmt: skip

    @torch.no_grad()
    def objective(self, params: Params, which: slice = slice(None)) -> Tensor:
        """Return ½·mean residual² + σ²/2n·‖θ − θ₀‖²_Λ of each member."""
        problem = self.problem
        center = problem.center
        assert center is not None
        residual = (problem.targets - self.values(params)).double()[which]
        squared = (residual**2).mean((1, 2))
        for name, value in params.items():
            change = (value[which] - center[name][which]).double()
            pull = problem.loss.pull / POINTS * problem.precision[name].double()
            squared = squared + (pull * change**2).flatten(1).sum(1)
        return 0.5 * squared

    def accuracy(self, params: Params) -> tuple[float, float]:
        """Return mean error and ratio of standard deviations, averaged over [−6, 6].

        Both against the exact posterior of the infinitely wide network, and the error in its
        standard deviations.
        """
        points = np.linspace(-6, 6, 25)[:, None]
        x = self.problem.inputs.double().cpu().numpy()

        def ntk(a: np.ndarray, b: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
            return erf_mlp_kernels(a, b, **NETWORK)[1]

        mean, covariance = gp_posterior_naive(
            ntk(x, x), ntk(points, x), ntk(points, points),
            self.clean[:, 0].double().cpu().numpy(), NOISE,
        )  # fmt: skip
        std = np.sqrt(np.diag(covariance))
        problem = self.problem
        with torch.no_grad():
            values = member_values(
                ntkgp_param(), problem.network, params, problem.shift,
                torch.tensor(points).to(problem.inputs),
            )[..., 0].double().cpu().numpy()  # fmt: skip
        error = np.abs(values.mean(0) - mean) / std
        return float(error.mean()), float((values.std(0, ddof=1) / std).mean())


def plain_loop(toy: Toy) -> tuple[Outcome, list[Params]]:
    """Time gradient descent of one network after another, in eager mode, and scale it."""
    problem, seconds, ends = toy.problem, [], []
    center = problem.center
    assert center is not None
    for i in range(LOOP_MEMBERS):
        network: nn.Module = copy.deepcopy(problem.network)
        network.load_state_dict({name: value[i] for name, value in problem.start.items()})
        params = dict(network.named_parameters())
        # θ ← θ − w(θ − c): the regulariser's step, which automatic differentiation need not see
        pulls = [(p, center[name][i], toy.shrink[name]) for name, p in params.items()]
        targets = problem.targets[i]
        for step in range(LOOP_STEPS + LOOP_WARM_UP):
            if step == LOOP_WARM_UP:
                toy.setting.wait()
                began = time.perf_counter()
            loss = 0.5 * ((network(problem.inputs) - targets) ** 2).mean()
            gradients = torch.autograd.grad(loss, [p for p, *_ in pulls])
            with torch.no_grad():
                for (p, c, w), gradient in zip(pulls, gradients, strict=True):
                    p.lerp_(c, w).sub_(gradient, alpha=LEARNING_RATE)
        toy.setting.wait()
        seconds.append((time.perf_counter() - began) / LOOP_STEPS)
        ends.append({name: p.detach() for name, p in params.items()})
    each = statistics.median(seconds)
    return Outcome(
        what=f"gradient descent, a loop over members ({1e3 * each:.2f} ms a step of one)",
        steps=f"{toy.steps:,} (scaled from {LOOP_STEPS})",
        seconds=each * toy.steps * MEMBERS,
    ), ends


def side_by_side(toy: Toy, steps: int) -> tuple[Outcome, Params]:
    """Run gradient descent of all members at once; on a GPU as a CUDA graph."""
    problem, shrink = toy.problem, toy.shrink
    center = problem.center
    assert center is not None
    leaves = {name: v.clone().requires_grad_() for name, v in problem.start.items()}

    def step() -> None:
        residual = toy.values(leaves) - problem.targets
        gradients = torch.autograd.grad(0.5 * (residual**2).sum() / POINTS, list(leaves.values()))
        with torch.no_grad():
            for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True):
                leaf.lerp_(center[name], shrink[name]).sub_(gradient, alpha=LEARNING_RATE)

    run = Execution().runner(step, toy.setting.device)
    toy.setting.wait()
    began = time.perf_counter()
    for number in range(1, steps + 1):
        run()
        if number % 5000 == 0 and toy.setting.device.type == "cpu":
            print(f"  {number:,} steps, {time.perf_counter() - began:.0f} s", file=sys.stderr)
    toy.setting.wait()
    seconds = time.perf_counter() - began
    params = {name: leaf.detach() for name, leaf in leaves.items()}
    return Outcome(
        what="gradient descent, members side by side (vmap)", steps=f"{steps:,}", seconds=seconds,
        objective=toy.objective(params), accuracy=toy.accuracy(params),
    ), params  # fmt: skip


class _WithinOnePercent:
    """A monitor that notes the first step at which a mean and all members are near a reference."""

    def __init__(self, reference: Tensor) -> None:
        self.reference = reference
        self.losses = torch.full_like(reference, torch.inf)
        self.mean_at: int | None = None
        self.all_at: int | None = None

    def resume(self) -> State | None:
        """Return None: nothing is resumed."""

    def after_step(self, step: int, total: int, losses: Tensor, state: Callable[[], State]) -> bool:  # noqa: ARG002
        """Note the step."""
        now = state()
        self.losses[now["numbers"]] = now["loss"] / POINTS
        if self.mean_at is None and self.losses.mean() <= 1.01 * self.reference.mean():
            self.mean_at = step
        if self.all_at is None and bool((self.losses <= 1.01 * self.reference).all()):
            self.all_at = step
        return False


def newton(toy: Toy, max_steps: int | None, what: str, repeats: int) -> Outcome:
    """Time Gauss–Newton with its defaults, to the end or up to some step."""
    trainer = gauss_newton() if max_steps is None else gauss_newton(max_steps=max_steps)
    seconds = []
    for _ in range(repeats):
        toy.setting.wait()
        began = time.perf_counter()
        trained = trainer.train(toy.problem, seed=0)
        toy.setting.wait()
        seconds.append(time.perf_counter() - began)
    return Outcome(
        what=what, steps=str(trained.n_steps), seconds=statistics.median(seconds),
        objective=toy.objective(trained.params), accuracy=toy.accuracy(trained.params),
    )  # fmt: skip


def agreement(toy: Toy, loop_ends: list[Params]) -> Outcome:
    """Compare the objectives of the loop's members with those that ran side by side."""
    steps = LOOP_STEPS + LOOP_WARM_UP
    _, params = side_by_side(toy, steps)
    first = slice(0, LOOP_MEMBERS)
    ends = {name: params[name].clone() for name in params}
    for i, end in enumerate(loop_ends):
        for name, value in end.items():
            ends[name][i] = value
    apart = (toy.objective(ends, first) / toy.objective(params, first) - 1).abs().max()
    return Outcome(
        what=f"largest difference of the two ways' objectives: {float(apart):.1e} of them",
        steps=str(steps),
    )


def _attempt(what: str, run: Callable[[], Outcome]) -> Outcome:
    """Return the outcome of a part, or that it failed: the other parts keep their rows."""
    print(f"{what} ...", file=sys.stderr, flush=True)
    try:
        outcome = run()
    except Exception as error:  # noqa: BLE001
        outcome = Outcome(what=what, failure=f"failed: {str(error).splitlines()[0]}")
    print(*outcome.row(Outcome(what=""), Outcome(what="")), sep="  ", file=sys.stderr, flush=True)
    return outcome


def scaled_side_by_side(toy: Toy, objective: float) -> Outcome:
    """Time a part of the steps side by side, and take their end from a run of all of them."""
    side_by_side(toy, LOOP_WARM_UP)
    timed, _ = side_by_side(toy, LOOP_STEPS)
    assert timed.seconds is not None
    return Outcome(
        what="gradient descent, members side by side (vmap)",
        steps=f"{STEPS:,} (scaled from {LOOP_STEPS})",
        seconds=timed.seconds * STEPS / LOOP_STEPS,
        objective=torch.full((MEMBERS,), objective, dtype=torch.float64),
        means_alone=True,
    )


def toy_rows(
    device: torch.device | str, quick: bool, objective: float | None = None
) -> list[tuple[str, ...]]:
    """Return the rows of the report, with the columns COLUMNS."""
    toy = Toy(setting=Setting(device=torch.device(device), quick=quick))
    ends: list[Params] = []

    def loop() -> Outcome:
        outcome, found = plain_loop(toy)
        ends.extend(found)
        return outcome

    looped = _attempt("gradient descent, a loop over members", loop)
    aside = _attempt(
        "gradient descent, side by side",
        lambda: (
            side_by_side(toy, toy.steps)[0]
            if objective is None
            else scaled_side_by_side(toy, objective)
        ),
    )
    rows = [looped, aside, _attempt("the two ways' objectives", lambda: agreement(toy, ends))]
    newton(toy, 2, "", 1)  # warm-up: libraries set themselves up
    repeats = 1 if quick else 3
    rows.append(
        _attempt(
            "Gauss–Newton, its defaults",
            lambda: newton(toy, None, "Gauss–Newton, its defaults, to its end", repeats),
        )
    )
    if aside.objective is not None:
        near = _WithinOnePercent(aside.objective)
        gauss_newton().train(toy.problem, seed=0, monitor=near)
        found = [("the mean", near.mean_at), ("every member", near.all_at)]
        for what, steps in found if objective is None else found[:1]:
            name = f"Gauss–Newton, until {what} is within 1 % of the reference"
            if steps is None:
                rows.append(Outcome(what=name, failure="never"))
            else:
                rows.append(_attempt(name, lambda s=steps, n=name: newton(toy, s, n, repeats)))  # type: ignore[misc]
    return [outcome.row(looped, aside) for outcome in rows]


def report(*, device: torch.device | str, quick: bool, objective: float | None = None) -> Report:
    """Return the report."""
    rows = toy_rows(device, quick, objective)
    steps = QUICK_STEPS if quick else STEPS
    kind = "gpu" if torch.device(device).type == "cuda" else "cpu"
    return Report(
        name=f"ensemble_toy_{kind}{'_quick' if quick else ''}",
        title="The paper's toy: Gauss–Newton against gradient descent",
        command="python benchmarks/ensemble_toy.py"
        + (" --quick" if quick else "")
        + ("" if objective is None else f" --objective {objective}"),
        columns=COLUMNS,
        rows=rows,
        notes=[*_notes(steps), *([] if objective is None else [_SCALED])],
    )


_SCALED = (
    "The objective of gradient descent is that of a run of all its steps on a GPU, from the same "
    "draws (ensemble_toy_gpu.md); its time side by side is scaled from 500 steps here."
)


def _notes(steps: int) -> list[str]:
    what = (
        f"{MEMBERS} members of NTKGP-param, MLP 2×512 with erf in standard parametrisation, "
        f"{POINTS} points, noise {NOISE}, float32; all start from the same draws, whose time is "
        f"not counted. Gradient descent: all data, learning rate {LEARNING_RATE}, {steps:,} steps; "
        "its objective is the reference. The loop is eager torch, its regulariser's step taken by "
        f"hand; {LOOP_STEPS} steps of {LOOP_MEMBERS} members are timed and scaled. Side by side "
        "all steps are run, on a GPU as a CUDA graph."
    )
    newton = (
        "Gauss–Newton does not know the reference: its rows up to 1 % run again as many of its "
        "steps as a first run, which was watched, had needed; its times include everything but "
        "the draws."
    )
    accuracy = (
        "Mean error and ratio of standard deviations are against the exact posterior of the "
        "infinitely wide network, over 25 points in [−6, 6]; 20 members give a standard deviation "
        "to 16 %, and a network of width 512 is not infinitely wide."
    )
    return [what, newton, accuracy]


def main() -> None:
    """Measure, print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="1,000 steps of gradient descent")
    parser.add_argument("--cpu", action="store_true", help="leave a GPU alone")
    parser.add_argument(
        "--objective", type=float, help="what all steps reach, known from elsewhere"
    )
    parser.add_argument("--out", type=Path, help="folder of the report")
    options = parser.parse_args()
    on_gpu = torch.cuda.is_available() and not options.cpu
    result = report(
        device="cuda" if on_gpu else "cpu", quick=options.quick, objective=options.objective
    )
    path = result.write(options.out) if options.out else result.write()
    print(path.read_text())


if __name__ == "__main__":
    main()
