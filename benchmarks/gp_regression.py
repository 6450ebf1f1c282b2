"""How long does a Gaussian process on 100,000 points take through tiles, and how exact is it?

    python benchmarks/gp_regression.py [--device cuda] [--points 100000] [--exact-points 10000]
        [--storage float32] [--rank R] [--tolerance 1e-6] [--budget-gb G] [--quick] [--out DIR]

Data: y = Σ_i a_i sin(w_i·x) + 0.1·noise with seeded a, w and x ~ N(0, I) in 8 dimensions. Kernel:
NTK of a dense network with 3 hidden layers of erf, evaluated in float64 and stored as --storage.
First the exact solution (Cholesky, float64) on --exact-points of them, and the tiled path on the
same points: its error at 1,000 test points in posterior standard deviations. Then the tiled path on
all points: fit, products, variances by solves, and functions by Matheron's rule. Nothing is tuned
on test points. --quick takes 2,000 and 1,000 points: about a minute on a CPU.

Limits that the report names: a product reads a stored tile as itself and transposed, n²·itemsize
bytes in all, at the measured bandwidth of a copy; making K writes half of that once.
"""

from __future__ import annotations

import argparse
import gc
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from bayesnn.gp import (  # noqa: E402
    IterativeGaussianProcess,
    finite_ntk_prior,
    fit_gp,
    fit_gp_iterative,
    pathwise_samples,
)
from bayesnn.kernels import ntk  # noqa: E402
from bayesnn.networks import Erf, mlp  # noqa: E402
from bayesnn.seeds import seeded_generator  # noqa: E402
from benchmarks.report import RESULTS, Report  # noqa: E402

FEATURES, WAVES, NOISE, TEST, FEW, SAMPLES = 8, 20, 0.1, 1000, 100, 64
COPY_BYTES = 2**30
Result = TypeVar("Result")


def network() -> nn.Module:
    """The network; its width matters for the sampled functions alone."""
    return mlp(
        in_features=FEATURES, out_features=1, width=512, depth=3, activation=Erf(),
        weight_std=1.5, bias_std=0.3, generator=seeded_generator(0),
    )  # fmt: skip


@dataclass(kw_only=True)
class Bench:
    """Data, the way to solve, and the rows of the report."""

    device: torch.device
    storage: torch.dtype
    rank: int | None
    tolerance: float
    budget: int | None
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def data(self, n: int, stream: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return x, y with noise, and the function's values; drawn on the CPU."""
        a, w = (
            torch.randn(*shape, dtype=torch.float64, generator=seeded_generator(0, 0, i))
            for i, shape in enumerate(((WAVES,), (FEATURES, WAVES)))
        )
        generator = seeded_generator(0, 1, stream)
        x = torch.randn(n, FEATURES, dtype=torch.float64, generator=generator)
        f = torch.sin(x @ w / FEATURES**0.5) @ a / WAVES**0.5
        noise = torch.randn(n, dtype=torch.float64, generator=generator)
        return tuple(v.to(self.device) for v in (x, f + NOISE * noise, f))  # type: ignore[return-value]

    def fit(self, x: Tensor, y: Tensor) -> IterativeGaussianProcess:
        """Return the process of the tiled path."""
        return fit_gp_iterative(
            ntk(network()), x, y, noise_std=NOISE, tolerance=self.tolerance,
            memory_budget=self.budget, storage=self.storage, preconditioner_rank=self.rank,
        )  # fmt: skip

    def wait(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def timed(self, run: Callable[[], Result]) -> tuple[Result, float]:
        """Return a result and the seconds it took."""
        self.wait()
        began = time.perf_counter()
        result = run()
        self.wait()
        return result, time.perf_counter() - began

    def peak_gb(self) -> float:
        """Return the most memory in use so far, in GB: the GPU's, or the process's on a CPU."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated() / 1e9
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9

    def row(self, what: str, seconds: float, outcome: str) -> None:
        """Add a row, and show it."""
        self.rows.append((what, f"{seconds:.3g}", outcome, f"{self.peak_gb():.1f}"))
        print(*self.rows[-1], sep=" | ", file=sys.stderr, flush=True)

    def copy_bandwidth(self) -> float:
        """Return bytes read and written a second by a copy."""
        source = torch.zeros(COPY_BYTES // 4, dtype=torch.float32, device=self.device)
        target = torch.empty_like(source)
        seconds = [self.timed(lambda: target.copy_(source))[1] for _ in range(7)]
        return 2 * COPY_BYTES / statistics.median(seconds[2:])


def against_exact(bench: Bench, x: Tensor, y: Tensor) -> None:
    """Compare the tiled path with Cholesky on the same points."""
    points, _, f = bench.data(TEST, 1)
    kernel = ntk(network())
    exact, seconds = bench.timed(lambda: fit_gp(kernel, x, y, noise_std=NOISE).posterior(points))
    error = float((exact.mean - f).square().mean().sqrt())
    bench.row(
        f"exact: Cholesky in float64, {len(x):,} points, with {TEST:,} test points", seconds,
        f"rmse {error:.4f} at test points, noise {NOISE}",
    )  # fmt: skip
    process, seconds = bench.timed(lambda: bench.fit(x, y))
    bench.row(f"tiled: fit, {len(x):,} points", seconds, solution(process))
    mean, seconds = bench.timed(lambda: process.mean(points).squeeze(1))
    off = ((mean - exact.mean) / exact.epistemic_variance.sqrt()).abs()
    bench.row(
        f"tiled: mean at {TEST:,} points", seconds,
        f"error in posterior standard deviations: mean {float(off.mean()):.1e}, "
        f"largest {float(off.max()):.1e}",
    )  # fmt: skip
    few, seconds = bench.timed(lambda: process.posterior(points[:FEW]))
    ratio = (few.epistemic_variance / exact.epistemic_variance[:FEW]).sqrt()
    bench.row(
        f"tiled: variances at {FEW} points by solves", seconds,
        f"ratio of standard deviations 1 + [{float(ratio.min() - 1):.1e}, "
        f"{float(ratio.max() - 1):.1e}]",
    )  # fmt: skip


def large(bench: Bench, x: Tensor, y: Tensor) -> None:
    """Run the tiled path on all points."""
    n = len(x)
    points, _, f = bench.data(TEST, 1)
    process, seconds = bench.timed(lambda: bench.fit(x, y))
    bench.row(f"tiled: fit, {n:,} points", seconds, solution(process))
    tiles = process.solver.tiles
    for columns in (1, SAMPLES):
        v = torch.randn(n, columns, dtype=torch.float64, generator=seeded_generator(2))
        run = partial(tiles.times, v.to(bench.device))
        seconds = statistics.median(bench.timed(run)[1] for _ in range(3))
        size = n * n * bench.storage.itemsize
        bench.row(
            f"one product K·V, {columns} columns", seconds,
            f"{size / seconds / 1e9:.3g} GB/s of tiles read, "
            f"{2 * n * n * columns / seconds / 1e9:.3g} GFLOP/s",
        )  # fmt: skip
    mean, seconds = bench.timed(lambda: process.mean(points).squeeze(1))
    error = float((mean - f).square().mean().sqrt())
    bench.row(f"mean at {TEST:,} points", seconds, f"rmse {error:.4f}, noise {NOISE}")
    exact, seconds = bench.timed(lambda: process.posterior(points[:FEW]))
    z = (exact.mean - f[:FEW]) / exact.epistemic_variance.sqrt()
    bench.row(
        f"variances at {FEW} points by solves", seconds,
        f"root mean square of (mean − f)/std {float(z.square().mean().sqrt()):.2f}",
    )  # fmt: skip
    sampled, seconds = bench.timed(
        lambda: pathwise_samples(
            process, n_samples=SAMPLES, prior=finite_ntk_prior(network().to(bench.device))
        )
    )
    found = sampled.posterior(points[:FEW])
    ratio = (found.epistemic_variance / exact.epistemic_variance).sqrt()
    bench.row(
        f"{SAMPLES} posterior functions (priors from networks of width 512)", seconds,
        f"ratio of their standard deviations to the solves': mean {float(ratio.mean()):.3f}, "
        f"scatter {float(ratio.std()):.3f} where {sampled.relative_error:.3f} is Monte Carlo's",
    )  # fmt: skip


def solution(process: IterativeGaussianProcess) -> str:
    """Return how a fit went, in words."""
    found, tiles = process.solution, process.solver.tiles
    return (
        f"{found.iterations} iterations, relative residual {found.residual:.1e} (float64), "
        f"preconditioner of rank {process.plan.rank}, {tiles.n_kept} of {tiles.n_tiles} tiles "
        f"kept ({tiles.kept_bytes / 1e9:.2f} GB)"
    )


def notes(bench: Bench, n: int) -> list[str]:
    """Return what the figures should be held against."""
    bandwidth = bench.copy_bandwidth()
    size = n * n * bench.storage.itemsize
    limit = (
        f"Limit: a copy on this device moves {bandwidth / 1e9:.3g} GB/s, so a product of one "
        f"column, which reads {size / 1e9:.3g} GB (a tile beside the diagonal of the symmetric K "
        f"twice), takes at least {size / bandwidth:.3g} s; making K writes {size / 2e9:.3g} GB "
        f"once, at least {size / 2 / bandwidth:.3g} s."
    )
    how = (
        f"K is evaluated in float64 and stored in {str(bench.storage).removeprefix('torch.')}; "
        "vectors, preconditioner and residuals are float64. Peak memory is the device's (the "
        "process's on a CPU), so far in the run."
    )
    return [limit, how]


def main() -> int:
    """Run all parts; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--exact-points", type=int, default=10_000)
    parser.add_argument("--storage", choices=["float32", "float64"], default="float32")
    parser.add_argument("--rank", type=int)
    parser.add_argument("--tolerance", type=float, default=1e-6)
    parser.add_argument("--budget-gb", type=float)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    n, part = (2000, 1000) if given.quick else (given.points, given.exact_points)
    bench = Bench(
        device=torch.device(given.device),
        storage=getattr(torch, given.storage),
        rank=given.rank,
        tolerance=given.tolerance,
        budget=None if given.budget_gb is None else int(given.budget_gb * 1e9),
    )
    x, y, _ = bench.data(n, 0)
    bench.fit(x[:500], y[:500])  # warm-up
    against_exact(bench, x[:part], y[:part])
    gc.collect()
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    large(bench, x, y)
    path = Report(
        name=f"gp_regression_{'gpu' if bench.device.type == 'cuda' else 'cpu'}",
        title=f"Gaussian-process regression with {n:,} points",
        command="python " + " ".join(["benchmarks/gp_regression.py", *sys.argv[1:]]),
        columns=("what", "seconds", "outcome", "peak memory, GB"),
        rows=bench.rows,
        notes=notes(bench, n),
    ).write(given.out)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
