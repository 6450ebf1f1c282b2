"""Do members sample the exact posterior as width grows, and is a deep ensemble told apart?

    python benchmarks/infinite_width.py [--part toy|digits|resnet]... [--device cuda]
        [--widths W,W,...] [--members M,M,...] [--deep-members M,M,...] [--memory-gb G] [--out DIR]
    python benchmarks/infinite_width.py --write-references [--part toy]...

NTKGP-param members in float32 are trained by Gauss–Newton until a step lowers the loss by less than
a ten-thousandth, and compared with the exact NTKGP posterior in double precision: on the paper's
toy, on a convolutional network on digits, and on a Stable ResNet of 50 blocks. Deep ensembles of
the same networks are compared with the same posterior, and must be rejected. Members are drawn and
trained range after range, so that a width of 8,192 (67 million parameters a member) fits; numbers
of members are one for all widths, or one for each. The report is written after every width.
--write-references asks neural-tangents (the extra `reference`) for the same posteriors, which runs
then compare with; they need no JAX for it.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from torch import Tensor

from bayesnn.reference_file import Reference
from benchmarks.report import RESULTS, Report
from benchmarks.width.degeneration import degeneration
from benchmarks.width.excess import Estimate, Excess, excess, mean_square, slope, std_square
from benchmarks.width.figure import save_figure
from benchmarks.width.members import TrainedValues, trained_values
from benchmarks.width.problems import PROBLEMS, Problem
from ensembles import compare_members, deep_ensemble, ntkgp_param
from ensembles.trainers.gauss_newton import gauss_newton
from ensembles.validation import Validation

WIDTHS = {
    "toy": (64, 128, 256, 512, 1024, 2048, 4096, 8192),
    "digits": (32, 64, 128, 256, 512),
    "resnet": (32, 64, 128, 256, 512),
}
TOLERANCE, MOST_STEPS = 1e-4, 500
COLUMNS = (
    "width", "members", "points", "mean error, sd (exact samples)", "sd ratio (± of exact)",
    "least … most", "mean error beyond Monte Carlo", "sd error beyond Monte Carlo", "p",
    "converged, steps", "s",
)  # fmt: skip
FOUND_COLUMNS = (
    "points", "slope of log mean error", "at the widest three", "slope of log (sd ratio − 1)",
)  # fmt: skip


@dataclass(kw_only=True)
class Part:
    """One problem's results as they come in."""

    problem: Problem
    reference: Reference
    notes: list[str]
    command: str
    out: Path
    rows: list[tuple[str, ...]] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    members: list[int] = field(default_factory=list)
    means: dict[str, list[Excess]] = field(default_factory=dict)
    ratios: dict[str, list[Estimate]] = field(default_factory=dict)

    def add(self, width: int, trained: TrainedValues) -> None:
        """Compare members of NTKGP-param with the reference."""
        report = compare_members(trained.values, self.reference)
        self.widths.append(width)
        self.members.append(len(trained.values))
        near = torch.tensor(report.curves.near)
        masks = {"all": torch.ones_like(near), "near": near, "far": ~near}
        for (name, mask), errors in zip(
            masks.items(), (report.all_points, report.near, report.far), strict=True
        ):
            if errors is None:
                continue
            mean, std = (self._excess(trained.values, mask, of) for of in (mean_square, std_square))
            self.means.setdefault(name, []).append(mean)
            ratio = errors.std_ratio, errors.std_ratio_error
            self.ratios.setdefault(name, []).append(ratio)
            last = _last(report, trained) if name == "all" else ("", "", "")
            row = (
                f"{width:,}", str(len(trained.values)), f"{name} ({errors.n_points})",
                f"{errors.mean_error:.3f} ({errors.mean_error_floor:.3f})",
                f"{errors.std_ratio:.3f} ± {errors.std_ratio_error:.3f}",
                f"{errors.least_std_ratio:.2f} … {errors.largest_std_ratio:.2f}", str(mean),
                str(std), *last,
            )  # fmt: skip
            self.rows.append(row)
        report.save_figure(self.out / f"infinite_width_{self.problem.name}_widest.png")
        report.save(self.out / f"infinite_width_{self.problem.name}_widest.json")

    def add_deep(self, width: int, trained: TrainedValues) -> None:
        """Compare a deep ensemble with the reference, which it must not pass for."""
        report = compare_members(trained.values, self.reference)
        errors = report.all_points
        row = (
            f"{width:,}", f"{len(trained.values)} deep", f"all ({errors.n_points})",
            f"{errors.mean_error:.3f}", f"{errors.std_ratio:.3f}",
            f"{errors.least_std_ratio:.2f} … {errors.largest_std_ratio:.2f}", "", "",
            *_last(report, trained),
        )  # fmt: skip
        self.rows.append(row)

    def _excess(self, values: Tensor, mask: Tensor, of: object) -> Excess:
        return excess(values, self.reference, mask, of)  # type: ignore[arg-type]

    def write(self) -> None:
        """Write the report and the figure of the widths so far."""
        found = ["| " + " | ".join(FOUND_COLUMNS) + " |", "|" + "---|" * len(FOUND_COLUMNS)]
        for name in self.means:
            means = [one.root for one in self.means[name]]
            slopes = (
                slope(self.widths, means), slope(self.widths[-3:], means[-3:]),
                slope(self.widths, [_beyond(*one) for one in self.ratios[name]]),
            )  # fmt: skip
            found.append(f"| {name} | " + " | ".join(slopes) + " |")
        Report(
            name=f"infinite_width_{self.problem.name}",
            title=f"Members against the exact posterior: {self.problem.what}",
            command=self.command,
            columns=COLUMNS,
            rows=self.rows,
            notes=["\n".join(found), *self.notes, _ERRORS, _TEST],
        ).write(self.out)
        save_figure(
            self.out / f"infinite_width_{self.problem.name}.png",
            f"{self.problem.name}: {max(self.members)} members",
            {
                name: [(w, one.root) for w, one in zip(self.widths, each, strict=True)]
                for name, each in self.means.items()
            },
            {name: list(zip(self.widths, each, strict=True)) for name, each in self.ratios.items()},
            [1 / math.sqrt(members) for members in self.members],
        )


def _beyond(ratio: float, error: float) -> Estimate | None:
    """Return |ratio − 1|; None where it is within two standard errors."""
    return (abs(ratio - 1), error) if abs(ratio - 1) > 2 * error else None


_ERRORS = (
    "Errors are in standard deviations of the posterior, averaged over points; “near” are the "
    "points where the data leave less than a fiftieth of the prior variance. In brackets, what as "
    "many exact samples would score on average. “Beyond Monte Carlo” is the root of the mean "
    "square over points less what exact samples would show, with a jackknife standard error over "
    "20 groups of members; “<” where it is not seen by two of them. Slopes are by weighted least "
    "squares over the widths where an error is seen."
)
_TEST = (
    "p is the probability that as many samples of the posterior are at least as unlike it; with "
    "this many members the test sees errors far below the figures' bounds, so that p says at which "
    "width the rest of finite width can no longer be told from Monte Carlo."
)


def _last(report: Validation, trained: TrainedValues) -> tuple[str, str, str]:
    return (
        f"{report.p_value:.4f} (mean {report.test.p_mean:.4f}, cov {report.test.p_covariance:.4f})",
        f"{trained.converged}, {trained.n_steps}", f"{trained.seconds:.1f}",
    )  # fmt: skip


def run_part(problem: Problem, arguments: argparse.Namespace) -> None:
    """Train and compare at every width, and write after each."""
    reference, said = problem.reference()
    device = torch.device(arguments.device)
    trained_how = (
        f"Trained to a tolerance of {arguments.tolerance:g}, {MOST_STEPS} steps at most, float32."
    )
    part = Part(
        problem=problem, reference=reference, out=arguments.out,
        command="python benchmarks/infinite_width.py " + " ".join(sys.argv[1:]),
        notes=[said, trained_how],
    )  # fmt: skip
    if problem.name == "resnet":
        part.notes.insert(0, _DEGENERATES + "\n\n" + degeneration())
    trainer = gauss_newton(max_steps=MOST_STEPS, tolerance=arguments.tolerance)
    plans = (
        (ntkgp_param(), arguments.members, part.add),
        (deep_ensemble(), arguments.deep_members, part.add_deep),
    )
    for place, width in enumerate(arguments.widths or WIDTHS[problem.name]):
        for method, numbers, add in plans:
            n_members = numbers[min(place, len(numbers) - 1)]
            if n_members == 0:
                continue
            trained = trained_values(
                problem, width, method=method, trainer=trainer, n_members=n_members,
                device=device, memory=int(arguments.memory_gb * 1e9),
            )  # fmt: skip
            add(width, trained)
            print(f"{problem.name} {width}: {trained.seconds:.1f} s", file=sys.stderr, flush=True)
        part.write()


_DEGENERATES = (
    "Depth, in kernels alone: regression of the same function on the unit sphere of R¹⁰, 200 "
    "points, noise 0.1, kernels normalised to unit variance. Unscaled branches raise the variance "
    "to 2^L and all correlations with it, and the posterior loses the function; scaled by 1/√L "
    "neither changes with depth. “over 1024”: beyond double precision."
)


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--part", action="append", choices=PROBLEMS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--widths", type=_numbers)
    parser.add_argument("--members", type=_numbers, default=[1000])
    parser.add_argument("--deep-members", type=_numbers, default=[100])
    parser.add_argument("--tolerance", type=float, default=TOLERANCE)
    parser.add_argument("--memory-gb", type=float, default=8.0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--write-references", action="store_true")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.part or PROBLEMS:
        if arguments.write_references:
            PROBLEMS[name]().write_reference()
        else:
            run_part(PROBLEMS[name](), arguments)


if __name__ == "__main__":
    main()
