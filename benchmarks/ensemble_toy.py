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
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks.report import Report  # noqa: E402
from benchmarks.training.setting import NOISE, Setting  # noqa: E402
from benchmarks.training.toy import (  # noqa: E402
    LEARNING_RATE,
    MEMBERS,
    POINTS,
    QUICK_STEPS,
    STEPS,
    Toy,
)
from benchmarks.training.toy_descent import (  # noqa: E402
    LOOP_MEMBERS,
    LOOP_STEPS,
    agreement,
    plain_loop,
    scaled_side_by_side,
    side_by_side,
)
from benchmarks.training.toy_newton import WithinOnePercent, newton  # noqa: E402
from benchmarks.training.toy_outcome import COLUMNS, Outcome  # noqa: E402
from ensembles import gauss_newton  # noqa: E402
from ensembles.methods.protocol import Params  # noqa: E402


def _attempt(what: str, run: Callable[[], Outcome]) -> Outcome:
    """Return the outcome of a part, or that it failed: the other parts keep their rows."""
    print(f"{what} ...", file=sys.stderr, flush=True)
    try:
        outcome = run()
    except Exception as error:  # noqa: BLE001
        outcome = Outcome(what=what, failure=f"failed: {str(error).splitlines()[0]}")
    print(*outcome.row(Outcome(what=""), Outcome(what="")), sep="  ", file=sys.stderr, flush=True)
    return outcome


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
        near = WithinOnePercent(aside.objective)
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
