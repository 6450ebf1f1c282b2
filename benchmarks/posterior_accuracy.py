"""How far are our posteriors from neural-tangents', in the worst of many random problems?

    python benchmarks/posterior_accuracy.py [--problems 100] [--seed 0] [--out DIR]

Each problem draws a dense network (depth 0–4, activation, scales), noise 0.03–1, 2–60 training
points, some of them equal, and 1–3 outputs, and takes from neural-tangents (extra `reference`) the
posterior of the NNGP and of the NTKGP, and the deep ensemble at a flow time of 0.1–10,000. Ours:
`gp_posterior`, `fit_gp_iterative` (tolerance 1e-10) and `deep_ensemble_distribution`, in float64.
Errors are the largest at any test point: of the mean in units of the prior's standard deviation
there, of the covariance relative to the largest prior variance. --problems 4 takes a minute.
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from bayesnn.gp import fit_gp_iterative, gp_posterior  # noqa: E402
from bayesnn.gradient_flow import deep_ensemble_distribution  # noqa: E402
from bayesnn.interop.neural_tangents import reference_posterior  # noqa: E402
from bayesnn.kernels import nngp, ntk  # noqa: E402
from bayesnn.networks import Erf, mlp  # noqa: E402
from bayesnn.predictive import Predictive  # noqa: E402
from bayesnn.reference_file import Reference  # noqa: E402
from bayesnn.seeds import seeded_generator  # noqa: E402
from benchmarks.report import RESULTS, Report  # noqa: E402

ACTIVATIONS: list[Callable[[], nn.Module]] = [
    Erf, nn.ReLU, nn.GELU, lambda: nn.LeakyReLU(0.2),
]  # fmt: skip
TEST = 8


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A network and data."""

    network: nn.Module
    x: Tensor
    y: Tensor
    points: Tensor
    noise_std: float
    time: float


def draw(seed: int, number: int) -> Problem:
    """Return the problem of a number."""
    generator = seeded_generator(seed, number)

    def whole(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=generator))

    def between(low: float, high: float) -> float:
        return low * (high / low) ** float(torch.rand(1, generator=generator, dtype=torch.float64))

    d, n, outputs = whole(1, 5), whole(2, 60), whole(1, 3)
    network = mlp(
        in_features=d, out_features=outputs, width=4, depth=whole(0, 4),
        activation=ACTIVATIONS[whole(0, len(ACTIVATIONS) - 1)](), weight_std=between(0.8, 2.0),
        bias_std=between(0.02, 1.0),
    )  # fmt: skip
    x, y, points = (
        torch.randn(*shape, dtype=torch.float64, generator=generator)
        for shape in ((n, d), (n, outputs), (TEST, d))
    )
    x[n - n // 4 :] = x[: n // 4]  # equal points, other targets
    points[0], points[1] = x[0], 5 * points[1]
    return Problem(
        network=network, x=x, y=y, points=points, noise_std=between(0.03, 1.0),
        time=between(0.1, 1e4),
    )  # fmt: skip


def errors(ours: Predictive, theirs: Reference) -> tuple[float, float]:
    """Return the largest errors of mean and of (co)variance."""
    prior = theirs.prior_variance
    mean = ((ours.mean - theirs.mean).abs() / prior.sqrt().unsqueeze(1)).max()
    if ours.covariance is None:
        off = (ours.epistemic_variance[:, 0] - theirs.covariance.diagonal()).abs().max()
    else:
        off = (ours.covariance[0] - theirs.covariance).abs().max()
    return float(mean), float(off / prior.max())


def compare(problem: Problem) -> dict[str, tuple[float, float]]:
    """Return the errors of one problem, by what was computed."""
    k, theta = nngp(problem.network), ntk(problem.network)
    data, noise = (problem.x, problem.y), problem.noise_std

    def reference(distribution: str, time: float = math.inf) -> Reference:
        return reference_posterior(
            problem.network, *data, problem.points, distribution=distribution, noise_std=noise,
            time=time,
        )  # fmt: skip

    found = {}
    for name, kernel in (("nngp", k), ("ntkgp", theta)):
        theirs = reference(name)
        exact = gp_posterior(kernel, *data, problem.points, noise_std=noise)
        found[f"{name}: gp_posterior"] = errors(exact, theirs)
        tiled = fit_gp_iterative(kernel, *data, noise_std=noise, tolerance=1e-10)
        found[f"{name}: fit_gp_iterative"] = errors(tiled.posterior(problem.points), theirs)
    flow = deep_ensemble_distribution(
        k, theta, *data, problem.points, noise_std=noise, time=problem.time
    )
    found["deep ensemble at time t"] = errors(flow, reference("deep_ensemble", problem.time))
    return found


def main() -> int:
    """Run all problems; return the exit code, 1 where an error exceeds 1e-6."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    warnings.filterwarnings("ignore", module=r"(jax|tensorflow|tf2jax|neural_tangents)")
    every = [compare(draw(given.seed, number)) for number in range(given.problems)]
    rows, worst = [], 0.0
    for name in every[0]:
        means, covariances = zip(*(one[name] for one in every), strict=True)
        worst = max(worst, *means, *covariances)
        at = max(range(len(every)), key=lambda i, m=means, c=covariances: max(m[i], c[i]))  # type: ignore[misc]
        rows.append((name, f"{max(means):.1e}", f"{max(covariances):.1e}", str(at)))
    path = Report(
        name="posterior_accuracy",
        title=f"Posteriors against neural-tangents', the worst of {given.problems} problems",
        command="python " + " ".join(["benchmarks/posterior_accuracy.py", *sys.argv[1:]]),
        columns=(
            "distribution", "mean, in prior standard deviations", "covariance, of prior variance",
            "worst problem",
        ),
        rows=rows,
    ).write(given.out)  # fmt: skip
    print(path)
    return int(worst > 1e-6)


if __name__ == "__main__":
    sys.exit(main())
