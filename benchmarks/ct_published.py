"""How fast and how good is UncertaINR's published configuration here, on a GPU?

    python benchmarks/ct_published.py --data-dir DIR --device cuda

The published network, masks, loss and optimiser (`ct.published_mc_dropout`), on slices of the AAPM
challenge (DIR/aapm_val/slices.npz, or DIR/aapm.npz), 120 views at 40 dB. Beside it, in the same
run: the same training written down naively in float32, with our projector (for its quality at
equal steps) and with images turned by grid_sample as the public code turns them (for its time).
About four minutes on an H100. --quick tries every part at a small size, and writes nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

import ct
from bayesnn.calibration import (
    ece_floor,
    expected_calibration_error,
    sample_quantile_intervals,
)
from benchmarks.projectors.grid_sample import GridSampleProjector
from benchmarks.published.arithmetic import step_cost
from benchmarks.published.naive import NaiveNetwork, NaiveTraining
from benchmarks.reconstruction.scans import Simulated, simulated
from benchmarks.reconstruction.scores import published_nll
from benchmarks.report import RESULTS, Report
from benchmarks.training.ceilings import measure_ceilings
from benchmarks.training.setting import Setting

PUBLISHED = "PSNR 37.2, NLL −4.19, ECE 0.29 after 10,000 steps on one slice, not named"
N_SAMPLES = 50


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One training: samples of the image, and the time of a step."""

    samples: Tensor
    step_ms: float
    seconds: float


def ours(scan: Simulated, index: int, *, steps: int) -> Trained:
    """Train as `ct.reconstruct` does; a step's time is taken over the second half of them."""
    times: dict[int, float] = {}

    def clock(done: int, total: int) -> None:
        if done in (steps // 2, steps, total):
            _wait(scan.truth)
            times[done] = time.perf_counter()

    problem = scan.problems[index]
    began = time.perf_counter()
    result = ct.reconstruct(
        problem.sinogram, scan.scan, scan.grid,
        method=ct.published_mc_dropout(steps=steps, n_samples=N_SAMPLES, lowest=0.0, highest=1.0),
        noise_std=problem.noise_std, progress=clock,
    )  # fmt: skip
    _wait(scan.truth)
    assert result.samples is not None
    return Trained(
        samples=result.samples,
        step_ms=1e3 * (times[steps] - times[steps // 2]) / (steps - steps // 2),
        seconds=time.perf_counter() - began,
    )


def naive(
    scan: Simulated, index: int, *, steps: int, project: Callable[[Tensor], Tensor]
) -> Trained:
    """Train in float32, as written down."""
    problem = scan.problems[index]
    torch.manual_seed(index)
    network = NaiveNetwork(scan.grid.shape, seed=index).to(scan.truth.device)
    training = NaiveTraining(
        network, project, problem.sinogram, float(problem.noise_std.flatten()[0])
    )
    began = middle = time.perf_counter()
    for step in range(steps):
        if step == steps // 2:
            _wait(scan.truth)
            middle = time.perf_counter()
        training.step()
    _wait(scan.truth)
    ended = time.perf_counter()
    return Trained(
        samples=training.samples(N_SAMPLES),
        step_ms=1e3 * (ended - middle) / (steps - steps // 2),
        seconds=ended - began,
    )


def row(name: str, what: str, steps: int, trained: Trained, truth: Tensor) -> tuple[str, ...]:
    """Return a line of the table, scores as published, with δ = 0."""
    samples, truth = trained.samples.double(), truth.double()
    mean, variance = samples.mean(0), samples.var(0)
    ece = expected_calibration_error(sample_quantile_intervals(samples), truth)
    psnr = -10 * float((mean - truth).square().mean().log10())
    found = (
        name, what, f"{steps:,}", f"{psnr:.2f}", f"{published_nll(mean, variance, truth):.2f}",
        f"{float(ece):.3f}", f"{trained.step_ms:.2f}", f"{trained.seconds:.1f}",
    )  # fmt: skip
    print(*found, flush=True)
    return found


def profile(scan: Simulated, steps: int, out: Path) -> None:
    """Write the time of each kernel of a step."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    with profiler(activities=[ProfilerActivity.CUDA]) as recorded:
        ours(scan, 0, steps=steps)
    table = recorded.key_averages().table(
        sort_by="self_cuda_time_total", row_limit=40, max_name_column_width=90
    )
    out.write_text(table)


def main() -> None:
    """Run all and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BAYESNN_DATA"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--slices", type=int, nargs="+", default=[0, 4])
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--naive-steps", type=int, default=2_500)
    parser.add_argument("--profile", type=Path)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.data_dir is None:
        parser.error("name the data folder: --data-dir DIR, or BAYESNN_DATA")
    images = _images(options.data_dir)[options.slices]
    if options.quick:
        images = images.reshape(len(images), 32, 16, 32, 16).mean((2, 4))
        options.steps, options.naive_steps = 10, 4
    scan = simulated(images, views=120, snr_db=40.0, device=options.device)
    if options.profile is not None:
        profile(scan, 40, options.profile)
        print(row("profiled", "ours", 300, ours(scan, 0, steps=300), scan.truth[0]))
        return
    rows = []
    for index, number in enumerate(options.slices):
        name = f"AAPM {number}"
        if index == 0:
            for steps, what, project in (
                (options.naive_steps, "naive, float32, our projector", scan.problems[0].projector),
                (options.naive_steps // 100 + 2, "naive, float32, turned images", _turned(scan)),
            ):
                trained = naive(scan, index, steps=steps, project=project)
                rows.append(row(name, what, steps, trained, scan.truth[index]))
            steps = options.naive_steps
            rows.append(row(name, "ours", steps, ours(scan, 0, steps=steps), scan.truth[0]))
        trained = ours(scan, index, steps=options.steps)
        rows.append(row(name, "ours", options.steps, trained, scan.truth[index]))
    path = Report(
        name="ct_published_gpu" if options.device == "cuda" else "ct_published_cpu",
        title=f"UncertaINR's published MC dropout: {scan.grid.shape[0]}² pixels, 120 views, 40 dB",
        command="python benchmarks/ct_published.py --data-dir DIR --device " + options.device,
        columns=(
            "slice", "training", "steps", "PSNR (dB)", "NLL", "ECE, δ = 0", "ms a step", "seconds",
        ),
        rows=rows,
        notes=_notes(scan, float(rows[-1][6]), options.quick),
    ).write(Path(tempfile.mkdtemp()) if options.quick else RESULTS)  # fmt: skip
    print(path.read_text())


def _notes(scan: Simulated, step_ms: float, quick: bool) -> list[str]:
    device = scan.truth.device
    ceilings = measure_ceilings(Setting(device=device, quick=quick))
    cost = step_cost(scan.truth[0].numel())
    rate = ceilings.operations.get("bf16", ceilings.operations["float32"])
    arithmetic = 1e3 * cost.operations / rate
    memory, our_memory = (1e3 * n / ceilings.bandwidth for n in (cost.layer_bytes, cost.ours_bytes))
    floor = (
        f"One step is {cost.operations / 1e12:.2f} TFLOP of matrix products: {arithmetic:.2f} ms "
        "at the measured bf16 rate. If each layer's values pass through memory once a pass it "
        f"moves {cost.layer_bytes / 1e9:.1f} GB: {memory:.2f} ms. Ours takes "
        f"{step_ms / max(arithmetic, memory):.1f} times the larger, and moves "
        f"{cost.ours_bytes / 1e9:.1f} GB by design: {our_memory:.2f} ms."
    )
    peer = (
        f"The public code on an H100, measured apart: 158 ms a step; {PUBLISHED}. It turns the "
        "image for each view in turn; «turned images» here does ten views in one grid_sample."
    )
    scores = (
        f"Scores are of {N_SAMPLES} samples, intervals between sample quantiles, nothing fitted "
        f"to the truth; exact posterior samples would score an ECE of "
        f"{ece_floor(N_SAMPLES):.3f}. Seconds: set-up, training and samples (naive: training)."
    )
    return [floor, ceilings.words(), peer, scores]


def _turned(scan: Simulated) -> Callable[[Tensor], Tensor]:
    chunk = 10
    projector = GridSampleProjector(scan.grid, scan.scan, chunk=chunk, device=scan.truth.device)
    return lambda image: projector(image[None])[0]


def _images(folder: Path) -> np.ndarray:
    for path in (folder / "aapm_val" / "slices.npz", folder / "aapm.npz"):
        if path.exists():
            return np.asarray(np.load(path)["images"], dtype=np.float32)
    raise SystemExit(f"{folder}: expected aapm_val/slices.npz in the data folder")


def _wait(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
