"""How long do kernels of infinitely wide networks take: against neural-tangents, and a GPU's limit?

    python benchmarks/infinite_kernels.py [--device cpu|cuda] [--quick] [--out FOLDER]

On a CPU: nngp and ntk of dense and convolutional networks in float64 beside neural-tangents
(jitted), which must be installed; both take turns on the same points and the medians' ratio counts.
On a GPU: time and memory of the NTK of 20,000 points, eager and compiled, beside the time in which
the matrix could be written. Reports: benchmarks/results/infinite_kernels_{cpu,gpu}.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from bayesnn.kernels import NetworkKernel, nngp, ntk  # noqa: E402
from bayesnn.networks import Erf, NTKConv2d, NTKLinear, mlp  # noqa: E402
from bayesnn.seeds import seeded_generator  # noqa: E402
from benchmarks.report import Report  # noqa: E402

PRIOR = {"weight_std": 1.5, "bias_std": 0.05}
FEATURES, CHANNELS, LAYERS = 8, 3, 6
POINTS = 20_000
NAMES = {Erf: "erf", nn.ReLU: "ReLU"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One network on one set of points."""

    name: str
    network: nn.Module
    points: Tensor
    rounds: int
    limit: float  # of the ratio of times


def dense(depth: int, activation: nn.Module, n: int, limit: float, rounds: int) -> Case:
    """Return an MLP on points of eight features."""
    network = mlp(
        in_features=FEATURES, out_features=1, width=8, depth=depth, activation=activation, **PRIOR
    )
    name = f"dense, depth {depth}, {NAMES[type(activation)]}, {n:,} points"
    return Case(name=name, network=network, points=draw(n, FEATURES), rounds=rounds, limit=limit)


def convolutional(side: int, n: int, rounds: int, *, pooled: bool) -> Case:
    """Return six 3×3 convolutions with ReLU, then global pooling or none, and a dense layer."""
    layers: list[nn.Module] = []
    for channels in (CHANNELS, *[8] * (LAYERS - 1)):
        layers += [NTKConv2d(channels, 8, kernel_size=3, padding=1, **PRIOR), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(1)] if pooled else []
    layers += [nn.Flatten(), NTKLinear(8 if pooled else 8 * side**2, 1, **PRIOR)]
    name = (
        f"{LAYERS} convolutions, {'pooled' if pooled else 'not pooled'}, {side}×{side}, {n} images"
    )
    points = draw(n, CHANNELS, side, side)
    return Case(name=name, network=nn.Sequential(*layers), points=points, rounds=rounds, limit=1.0)


def draw(*shape: int) -> Tensor:
    """Return standard normal points."""
    return torch.randn(*shape, dtype=torch.float64, generator=seeded_generator(0))


def cases(*, quick: bool) -> list[Case]:
    """Return the cases of a CPU."""
    if quick:
        return [
            dense(3, nn.ReLU(), 300, 1.0, 3),
            convolutional(8, 12, 3, pooled=False),
            convolutional(8, 6, 3, pooled=True),
        ]
    found = [
        dense(depth, activation, n, limit, rounds)
        for n, limit, rounds in ((1000, 1.0, 9), (4000, 0.5, 5))
        for depth in (3, 10)
        for activation in (Erf(), nn.ReLU())
    ]
    found += [convolutional(8, 300, 5, pooled=False), convolutional(16, 100, 5, pooled=False)]
    return [*found, convolutional(8, 64, 5, pooled=True), convolutional(16, 16, 5, pooled=True)]


def peer(network: nn.Module) -> Callable[[np.ndarray, str], Any]:
    """Return neural-tangents' jitted kernel function of the same network."""
    import jax
    from neural_tangents import stax

    jax.config.update("jax_enable_x64", val=True)
    scales = (PRIOR["weight_std"], PRIOR["bias_std"])
    known: dict[type[nn.Module], Callable[[], Any]] = {
        NTKLinear: lambda: stax.Dense(1, *scales),
        NTKConv2d: lambda: stax.Conv(1, (3, 3), None, "SAME", *scales),
        Erf: stax.Erf,
        nn.ReLU: stax.Relu,
        nn.AdaptiveAvgPool2d: stax.GlobalAvgPool,
    }
    pooled = any(isinstance(module, nn.AdaptiveAvgPool2d) for module in network.modules())
    layers = []
    for module in network.children():
        if isinstance(module, nn.Flatten):
            # pooling leaves one position, which stax drops
            layers += [] if pooled else [stax.Flatten()]
        else:
            layers.append(known[type(module)]())
    kernel = jax.jit(stax.serial(*layers)[2], static_argnums=2)

    def run(x: np.ndarray, kind: str) -> Any:
        return kernel(x, None, kind).block_until_ready()

    return run


def against_neural_tangents(*, quick: bool) -> Report:
    """Return both kernels' times beside the peer's."""
    rows: list[tuple[str, ...]] = []
    missed = 0
    for case in cases(quick=quick):
        theirs = peer(case.network)
        given = case.points.numpy()
        if given.ndim == 4:
            given = np.ascontiguousarray(np.moveaxis(given, 1, -1))
        for kind, kernel in (("nngp", nngp(case.network)), ("ntk", ntk(case.network))):
            row, held = _turns(case, kind, kernel, partial(theirs, given, kind))
            rows.append(row)
            missed += not held
            print(" | ".join(row), flush=True)
    return Report(
        name="infinite_kernels_cpu",
        title="Kernels of infinitely wide networks beside neural-tangents, float64",
        command="python benchmarks/infinite_kernels.py",
        columns=("network", "kernel", "ours, s", "theirs, s", "ratio", "limit", "difference"),
        rows=rows,
        notes=[
            f"Limits missed: {missed} of {len(rows)}.",
            (
                "Times: medians of rounds in which both take turns, after one that compiles and "
                f"warms up; both use all cores ({torch.get_num_threads()} threads). Difference: "
                "largest, over the largest entry. Ours computes tiles on and above the diagonal."
            ),
        ],
    )


def _turns(
    case: Case, kind: str, kernel: NetworkKernel, theirs: Callable[[], Any]
) -> tuple[tuple[str, ...], bool]:
    expected, found = np.asarray(theirs()), kernel(case.points).numpy()
    difference = np.abs(found - expected).max() / np.abs(expected).max()
    del expected, found
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(case.rounds):
        for each, run in zip(times, (lambda: kernel(case.points), theirs), strict=True):
            began = time.perf_counter()
            run()
            each.append(time.perf_counter() - began)
    ours, peers = (statistics.median(each) for each in times)
    ratio = ours / peers
    row = (
        case.name, kind, f"{ours:.3g}", f"{peers:.3g}", f"{ratio:.2f}", f"{case.limit:.1f}",
        f"{difference:.0e}",
    )  # fmt: skip
    return row, ratio <= case.limit


def large_matrix(device: torch.device, *, quick: bool) -> Report:
    """Return time and memory of the NTK of many points, eager and compiled."""
    n = 300 if quick else POINTS
    bandwidth = written_bytes_a_second(device, quick=quick)
    rows: list[tuple[str, ...]] = []
    for activation in (Erf(), nn.ReLU()):
        for dtype in (torch.float32, torch.float64):
            case = dense(3, activation, n, 1.0, 5)
            x = case.points.to(device, dtype)
            kernel = ntk(case.network)
            floor = n * n * dtype.itemsize / bandwidth
            eager = kernel(x)
            for how, run in (("eager", kernel), ("compiled", kernel.compiled())):
                error = float((run(x) - eager).abs().max() / eager.abs().max())
                seconds, extra = _seconds_and_memory(partial(run, x), device)
                rows.append((
                    NAMES[type(activation)], str(dtype).removeprefix("torch."), how,
                    f"{seconds * 1e3:.3g}", f"{floor * 1e3:.3g}", f"{seconds / floor:.1f}",
                    f"{n * n * dtype.itemsize / 1e9:.3g}", extra, f"{error:.0e}",
                ))  # fmt: skip
                print(" | ".join(rows[-1]), flush=True)
            del eager
    return Report(
        name=f"infinite_kernels_{'gpu' if device.type == 'cuda' else 'large_cpu'}",
        title=f"NTK of {n:,} points, dense network of depth 3, beside the time of writing it",
        command=f"python benchmarks/infinite_kernels.py --device {device.type}",
        columns=(
            "activation", "precision", "how", "ms", "floor, ms", "times the floor", "matrix, GB",
            "beside it, GB", "difference",
        ),
        rows=rows,
        notes=[
            (
                f"Floor: the matrix's bytes over {bandwidth / 1e9:.4g} GB/s, the rate at which a "
                "fill writes in this run. Times: medians of 5 after warm-up, synchronised. Beside "
                "it: peak memory less the points and the result. Difference: from eager, over the "
                "largest entry."
            )
        ],
    )  # fmt: skip


def written_bytes_a_second(device: torch.device, *, quick: bool) -> float:
    """Return the rate at which memory is written."""
    target = torch.empty(2**22 if quick else 2**29, device=device)
    seconds, _ = _seconds_and_memory(lambda: target.fill_(1.0), device)
    return target.numel() * target.element_size() / seconds


def _seconds_and_memory(run: Callable[[], Tensor], device: torch.device) -> tuple[float, str]:
    gpu = device.type == "cuda"
    synchronise = torch.cuda.synchronize if gpu else lambda: None
    run()
    synchronise()
    before = torch.cuda.memory_allocated() if gpu else 0
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(5):
        began = time.perf_counter()
        result = run()
        synchronise()
        times.append(time.perf_counter() - began)
        size = result.numel() * result.element_size()
        del result
    extra = "—"
    if gpu:
        extra = f"{max(0, torch.cuda.max_memory_allocated() - before - size) / 1e9:.3g}"
    return statistics.median(times), extra


def main() -> None:
    """Run one mode, print and write its report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--large", action="store_true", help="the large matrix, on a CPU too")
    parser.add_argument("--quick", action="store_true", help="few repeats and small sizes")
    parser.add_argument("--out", type=Path, help="folder of the report")
    options = parser.parse_args()
    if options.device == "cuda" or options.large:
        report = large_matrix(torch.device(options.device), quick=options.quick)
    else:
        report = against_neural_tangents(quick=options.quick)
    path = report.write(options.out) if options.out else report.write()
    print(path.read_text())


if __name__ == "__main__":
    main()
