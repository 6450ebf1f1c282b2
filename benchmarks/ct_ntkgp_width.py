"""Do NTK-randomised members of a scan become samples of the exact posterior as width grows?

    python benchmarks/ct_ntkgp_width.py [--device cuda] [--size 64] [--views 20] [--members 64]
        [--widths 128,256,512,1024,2048,4096] [--out DIR]

One noisy scan of the Shepp–Logan phantom at 40 dB. The reference is the posterior of the infinitely
wide network with the same frequencies, by dense matrices in float64: Θ Aᵀ (A Θ Aᵀ + σ²)⁻¹. A member
is compared in two ways. The members' standard deviation over the exact one (root mean squares over
pixels) has a Monte-Carlo error, which stands beside it. And each member is compared with the exact
sample that its own draws make, p + Θ Aᵀ (A Θ Aᵀ + σ²)⁻¹ (z − A p) with p its image before training
and z what it saw: the distance, in posterior standard deviations, has no Monte-Carlo error to
speak of, and measures how far training is from the limit's. `ct.infinite_width` is compared with
the same reference. The report is written after every width.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from torch import Tensor

import ct
from bayesnn.kernels import ntk
from benchmarks.report import RESULTS, Report
from ct.inr.wide_network import WideNetwork
from ct.posterior.chunked import in_chunks
from ct.posterior.image_model import ImageModel, image_model
from ct.posterior.ntkgp import ntkgp
from ct.posterior.ntkgp_members import FittedMembers, MemberWork
from ct.problem import Problem
from ensembles.trainers.gauss_newton import gauss_newton

WIDTHS = (128, 256, 512, 1024, 2048, 4096)
PRIOR_STD, SNR_DB, FREQUENCY_STD, N_FREQUENCIES, DEPTH = 0.5, 40.0, 10.0, 363, 2
MOST_STEPS, TOLERANCE = 100, 1e-5
COLUMNS = (
    "width", "members", "std ratio (± Monte Carlo)", "least … most of pixels",
    "distance to own exact sample, std", "of which shared by all, std", "prior std ratio",
    "converged", "s",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Exact:
    """The exact posterior, in the network's units."""

    gain: Tensor
    covariance: Tensor
    prior_std: Tensor

    @property
    def std(self) -> Tensor:
        """Of each pixel."""
        return self.covariance.diagonal().sqrt()

    def monte_carlo(self, n: int) -> float:
        """Standard error of the ratio of root mean square standard deviations, of n samples."""
        squares = float(self.covariance.square().sum())
        return math.sqrt(2 * squares / (n - 1)) / float(self.covariance.trace()) / 2


def make_problem(size: int, views: int, device: str) -> Problem:
    """Return the noisy scan."""
    grid = ct.ImageGrid((size, size))
    angles = [k * math.pi / views for k in range(views)]
    scan = ct.ParallelBeam(angles, n_detectors=math.ceil(math.sqrt(2) * size) + 1)
    projector = ct.projector(grid, scan)
    image = ct.shepp_logan(grid).image(grid).double()
    clean = projector(image)
    noise_std = float(clean.square().mean().sqrt()) * 10 ** (-SNR_DB / 20)
    noise = torch.randn(
        clean.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    sinogram = (clean + noise_std * noise).to(device)
    return Problem(
        sinogram=sinogram,
        noise_std=torch.full_like(sinogram, noise_std),
        projector=projector,
        grid=grid,
        scan=scan,
        keep_samples=True,
    )


def exact_posterior(model: ImageModel) -> Exact:
    """Return the posterior of the infinitely wide network with the model's frequencies."""
    problem, network = model.problem, model.network
    kernel = ntk(network.body)(network.points)
    kernel = kernel * PRIOR_STD**2 / kernel[0, 0]
    n = len(kernel)
    seen = problem.projector(kernel.view(n, *problem.grid.shape)).view(n, -1)  # Θ Aᵀ
    gram = problem.projector(seen.mT.reshape(-1, *problem.grid.shape)).view(seen.shape[1], -1)
    gram.diagonal().add_(problem.noise_std.flatten().square())
    gain = torch.cholesky_solve(seen.mT, torch.linalg.cholesky(gram)).mT
    return Exact(gain=gain, covariance=kernel - gain @ seen.mT, prior_std=kernel.diagonal().sqrt())


def row_of(
    width: int, n_members: int, problem: Problem
) -> tuple[tuple[str, ...], dict[str, float]]:
    """Return a width's row, and what the notes say of it."""
    network = WideNetwork(
        n_frequencies=N_FREQUENCIES, frequency_std=FREQUENCY_STD, width=width, depth=DEPTH
    )
    model = image_model(problem, network, seed=0)
    exact = exact_posterior(model)
    work = MemberWork(
        model.network, model.problem, prior_std=PRIOR_STD, seed=0,
        trainer=gauss_newton(max_steps=MOST_STEPS, tolerance=TOLERANCE),
    )  # fmt: skip
    begun = time.perf_counter()

    def part(numbers: range) -> tuple[FittedMembers, Tensor, Tensor]:
        return work.members(numbers, problem.checkpoint, lambda _: None), *work.drawn(numbers)

    chunks = in_chunks(part, n=n_members, at_once=work.at_once(), what="members").results
    members = torch.cat([fitted.images for fitted, *_ in chunks]).flatten(1)
    converged = int(torch.cat([fitted.converged for fitted, *_ in chunks]).sum())
    seconds = time.perf_counter() - begun
    prior = torch.cat([images for _, images, _ in chunks])
    seen = torch.cat([sinograms for *_, sinograms in chunks])
    residual = (seen - model.problem.projector(prior)).flatten(1)
    samples = prior.flatten(1) + residual @ exact.gain.mT
    std = exact.std
    each = members.std(0) / std
    ratio = float((members.var(0).mean() / std.square().mean()).sqrt())
    distance = (members - samples) / std
    shared = float(distance.mean(0).square().mean().sqrt())
    apart = float(distance.square().mean().sqrt())
    prior_ratio = prior.flatten(1).var(0).mean().sqrt() / exact.prior_std.square().mean().sqrt()
    row = (
        str(width), str(n_members),
        f"{ratio:.3f} ± {exact.monte_carlo(n_members):.3f}",
        f"{float(each.min()):.2f} … {float(each.max()):.2f}",
        f"{apart:.3f}", f"{shared:.3f}", f"{float(prior_ratio):.3f}",
        f"{converged}/{n_members}", f"{seconds:.0f}",
    )  # fmt: skip
    return row, {"width": width, "ratio": ratio, "distance": apart}


def infinite_width_note(problem: Problem, n_samples: int) -> str:
    """Return what `ct.infinite_width` with the same frequencies gives, over the reference."""
    network = WideNetwork(
        n_frequencies=N_FREQUENCIES, frequency_std=FREQUENCY_STD, width=8, depth=DEPTH
    )
    model = image_model(problem, network, seed=0)
    exact = exact_posterior(model)
    variance = float(ntk(model.network.body).diagonal(model.network.points[:1])[0])
    method = ct.infinite_width(
        depth=DEPTH, activation=torch.erf, frequencies=model.network.body[0].frequencies,
        amplitude=PRIOR_STD / variance**0.5 * model.values.scale, unknown_level=False,
        n_samples=n_samples,
    )  # fmt: skip
    estimate = method.solve(problem, seed=1)
    assert estimate.std is not None
    ratio = float(estimate.std.square().mean().sqrt()) / float(
        model.values.scale * exact.std.square().mean().sqrt()
    )
    return (
        f"`ct.infinite_width` with the same frequencies, {n_samples} samples: std ratio "
        f"{ratio:.3f} ± {exact.monte_carlo(n_samples):.3f}."
    )


def main() -> None:
    """Run, and write the report after every width."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--views", type=int, default=20)
    parser.add_argument("--members", type=int, default=64)
    parser.add_argument("--widths", default=",".join(map(str, WIDTHS)))
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    problem = make_problem(given.size, given.views, given.device)
    views, detectors = problem.sinogram.shape
    settings = ntkgp().settings()
    described = (
        f"{given.size}² pixels, {views} views of {detectors} bins, {SNR_DB:g} dB; "
        f"{N_FREQUENCIES} frequencies, Ω₀ = {FREQUENCY_STD:g}, depth {DEPTH}, erf, weight std "
        f"{settings['network.weight_std']}, bias std {settings['network.bias_std']}, prior std of "
        f"a pixel {PRIOR_STD:g} of the range; Gauss–Newton to {TOLERANCE:g}, {MOST_STEPS} steps at "
        "most, float64."
    )
    notes = [
        described,
        infinite_width_note(problem, 64),
    ]
    rows: list[tuple[str, ...]] = []
    found: list[dict[str, float]] = []
    for width in (int(one) for one in given.widths.split(",")):
        row, values = row_of(width, given.members, problem)
        rows.append(row)
        found.append(values)
        print(" | ".join(row), flush=True)
        Report(
            name=f"ct_ntkgp_width{'_cpu' if given.device == 'cpu' else ''}",
            title="NTK-randomised members against the exact infinite-width posterior, by width",
            command="python benchmarks/ct_ntkgp_width.py " + " ".join(sys.argv[1:]),
            columns=COLUMNS,
            rows=rows,
            notes=[*notes, *_slope(found)],
        ).write(given.out)


def _slope(found: list[dict[str, float]]) -> list[str]:
    if len(found) < 2:
        return []
    width = torch.tensor([one["width"] for one in found], dtype=torch.float64).log()
    error = torch.tensor([one["distance"] for one in found], dtype=torch.float64).log()
    width, error = width - width.mean(), error - error.mean()
    slope = float((width * error).sum() / width.square().sum())
    return [
        f"The distance falls as width to the power {slope:.2f} (theory of wide networks: −0.5)."
    ]


if __name__ == "__main__":
    main()
