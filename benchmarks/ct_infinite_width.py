"""The exact posterior of an infinitely wide network: seconds, memory, accuracy and coverage.

    python benchmarks/ct_infinite_width.py --data-dir DIR --device cuda    (1 minute: all slices)
    python benchmarks/ct_infinite_width.py --data-dir DIR --quick          (2 minutes on two cores)

Slices of the AAPM challenge (DIR/aapm_val/slices.npz, 512²), 40 dB, sinograms by the projector
itself. The projector's weights are made, and its kernels compiled, before the clock starts; the
choice of amplitude and length scale is timed apart. The scales come from the sinogram alone, and
the error bars are those of the prior, not calibrated.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

import ct
from benchmarks.reconstruction.images import aapm
from benchmarks.reconstruction.scans import simulated
from benchmarks.report import RESULTS, Report
from ct.posterior.infinite_width import InfiniteWidth
from ct.problem import Estimate, Problem

T = TypeVar("T")
COLUMNS = (
    "views", "slices", "PSNR of the mean", "scales s", "mean s", "std s", "iterations (mean, std)",
    "Ω₀", "prior std", "likely noise factor", "coverage 50 %", "coverage 95 %", "rms error/std",
)  # fmt: skip


def timed(work: Callable[[], T], device: str) -> tuple[T, float]:
    """Return what work gives and its seconds."""
    if device == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    result = work()
    if device == "cuda":
        torch.cuda.synchronize()
    return result, time.perf_counter() - begin


def median(values: list[float]) -> float:
    """The middle value, which a first slow run does not move."""
    return sorted(values)[len(values) // 2]


def solved(method: InfiniteWidth, problem: Problem, device: str) -> tuple[Estimate, list[float]]:
    """Return the estimate, and the seconds of choosing the scales, the mean, and the samples."""
    prior, choice = timed(lambda: method.prior(problem), device)
    _, mean = timed(lambda: method.posterior(problem, prior), device)
    scales = prior.scales
    given = dataclasses.replace(
        method, frequency_std=scales.frequency_std, amplitude=prior.amplitude
    )
    _, again = timed(lambda: given.prior(problem), device)
    estimate, whole = timed(lambda: given.solve(problem, seed=0), device)
    return estimate, [choice, mean, whole - mean - again]


def row(images: torch.Tensor, *, views: int, device: str) -> tuple[str, ...]:
    """Reconstruct all slices of one scan."""
    data = simulated(images.numpy(), views=views, snr_db=40.0, device=device)
    method = ct.infinite_width()
    solved(dataclasses.replace(method, n_samples=2), data.problems[0], device)  # warm-up
    found = [solved(method, problem, device) for problem in data.problems]
    means = torch.stack([estimate.mean for estimate, _ in found])
    spread = torch.stack([estimate.std for estimate, _ in found if estimate.std is not None])
    errors = ((data.truth - means) / spread).abs()
    said = [estimate.diagnostics for estimate, _ in found]

    def middle(name: str) -> float:
        return median([float(one[name] or 0.0) for one in said])

    seconds = [median([times[part] for _, times in found]) for part in range(3)]
    clipped = means.clamp(0, 1)
    return (
        str(views),
        str(len(found)),
        f"{float(data.psnr(clipped).mean()):.2f}",
        *(f"{one:.2f}" for one in seconds),
        f"{middle('iterations'):.0f}, {middle('sample_iterations'):.0f}",
        f"{middle('frequency_std'):.1f}",
        f"{middle('prior_std'):.3f}",
        f"{middle('likely_noise_factor'):.2f}",
        *(f"{100 * float((errors < z).double().mean()):.1f} %" for z in (0.6745, 1.96)),
        f"{math.sqrt(float(errors.double().square().mean())):.2f}",
    )


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="one slice at 60 views")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images = torch.from_numpy(aapm(options.data_dir))
    views = (60,) if options.quick else (60, 120)
    images = images[:1] if options.quick else images
    rows = [row(images, views=one, device=options.device) for one in views]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    notes = [
        (
            f"Largest resident memory of the process: {memory:.2f} GB (Python, torch and the data "
            f"included); {options.threads} threads."
        ),
        (
            "Seconds are medians over the slices, without the projector's build. `std s`: 64 "
            "samples, each a solve of its own to a relative residual of 3e-3; a pixel's standard "
            "deviation has a Monte-Carlo error of 9 %. Coverage is of the prior's own error bars, "
            "uncalibrated."
        ),
    ]
    if options.device == "cuda":
        notes.append(f"Largest GPU memory: {torch.cuda.max_memory_allocated() / 2**30:.2f} GB.")
    report = Report(
        name=f"ct_infinite_width_{options.device}",
        title="The exact posterior of an infinitely wide Fourier-feature network",
        command=(
            "python benchmarks/ct_infinite_width.py --data-dir DIR"
            + (f" --device {options.device}" if options.device != "cpu" else "")
            + (" --quick" if options.quick else "")
        ),
        columns=COLUMNS,
        rows=rows,
        notes=notes,
    )
    path = report.write(options.out)
    print(path.read_text())


if __name__ == "__main__":
    main()
