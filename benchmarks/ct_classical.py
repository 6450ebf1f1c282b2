"""How good and how fast are FBP, SIRT, CGLS and TV, beside scikit-image's and ASTRA's?

    python benchmarks/ct_classical.py --data-dir DIR [--slices 9] [--threads 2] [--device cpu]

AAPM validation slices (512², DIR/aapm_val/slices.npz), 60 and 120 views over half a turn, 40 dB,
sinograms of the same discretisation. Iterations of the peers are as many as ours took, so that
seconds compare. ASTRA is optional. About 20 minutes on two CPU cores.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

import ct
from benchmarks.report import Report
from ct.classical.windows import hann, ramp
from ct.problem import Method, Problem
from ct.projectors.operator import Projector

VIEWS = (60, 120)
SNR_DB = 40.0


@dataclass(frozen=True, kw_only=True)
class Scanned:
    """Slices, and what a scan of them gave."""

    truth: Tensor
    sinogram: Tensor
    noise_std: Tensor
    projector: Projector
    grid: ct.ImageGrid
    scan: ct.ParallelBeam

    def problems(self) -> list[Problem]:
        """One problem a slice."""
        return [
            Problem(
                sinogram=sinogram,
                noise_std=std.expand(sinogram.shape),
                projector=self.projector,
                grid=self.grid,
                scan=self.scan,
            )
            for sinogram, std in zip(self.sinogram, self.noise_std, strict=True)
        ]


def scanned(truth: Tensor, views: int, snr_db: float = SNR_DB) -> Scanned:
    """Project slices, and add noise of the same relative size to each."""
    side = truth.shape[-1]
    grid = ct.ImageGrid((side, side))
    angles = np.arange(views) * math.pi / views
    scan = ct.ParallelBeam(angles, n_detectors=math.ceil(math.sqrt(2) * side) + 1)
    projector = ct.projector(grid, scan)
    clean = projector(truth)
    noise_std = clean.square().mean(dim=(1, 2)).mul(10 ** (-snr_db / 10)).sqrt()
    draw = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)).to(clean)
    sinogram = clean + noise_std[:, None, None] * draw
    projector.T(sinogram)  # its weights are made once for a scan
    return Scanned(
        truth=truth, sinogram=sinogram, noise_std=noise_std, projector=projector, grid=grid,
        scan=scan,
    )  # fmt: skip


def aapm(folder: Path, n_slices: int) -> Tensor:
    """The first slices."""
    return torch.from_numpy(np.load(folder / "aapm_val" / "slices.npz")["images"][:n_slices])


def psnr(image: Tensor, truth: Tensor) -> float:
    """In dB, of the image clipped to the truth's range."""
    low, high = truth.min(), truth.max()
    error = (image.clamp(low, high) - truth).square().mean()
    return float(10 * torch.log10((high - low) ** 2 / error))


def scores(images: Tensor, data: Scanned) -> tuple[str, str]:
    """Mean PSNR and SSIM over slices."""
    from skimage.metrics import structural_similarity

    decibels, similar = [], []
    for image, truth in zip(images.cpu(), data.truth.cpu(), strict=True):
        low, high = float(truth.min()), float(truth.max())
        decibels.append(psnr(image, truth))
        clipped = image.clamp(low, high).numpy()
        similar.append(structural_similarity(truth.numpy(), clipped, data_range=high - low))
    return f"{np.mean(decibels):.2f}", f"{np.mean(similar):.3f}"


def seconds(work: Callable[[], Any], device: str, repeats: int) -> tuple[float, Any]:
    """Median wall time, and what came out."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return float(np.median(times)), result


def ours(data: Scanned, device: str) -> Iterator[tuple[str, str, float, Tensor, int]]:
    """Name, iterations, seconds a slice, images and rounded iterations of each method."""
    methods: list[tuple[str, Method, int]] = [
        ("fbp, Hann", ct.fbp(window=hann), 3),
        ("fbp, ramp", ct.fbp(window=ramp), 3),
        ("sirt", ct.sirt(), 1),
        ("sirt, image ≥ 0", ct.sirt(nonnegative=True), 1),
        ("cgls", ct.cgls(), 1),
    ]
    if hasattr(ct, "tv"):
        methods.append(("tv", ct.tv(), 1))
    problems = data.problems()
    for name, method, repeats in methods:
        if repeats > 1:
            method.solve_slices(problems)  # type: ignore[attr-defined]
        took, estimates = seconds(
            lambda method=method: method.solve_slices(problems),  # type: ignore[misc]
            device,
            repeats,
        )
        counts = [estimate.diagnostics.get("iterations", 0) for estimate in estimates]
        images = torch.stack([estimate.mean for estimate in estimates])
        shown = f"{min(counts)}–{max(counts)}" if max(counts) else "–"
        yield name, shown, took / len(problems), images, round(float(np.mean(counts)))


def scikit_image(data: Scanned) -> Iterator[tuple[str, str, float, Tensor]]:
    """Its filtered back-projection and its SART."""
    from skimage.transform import iradon, iradon_sart

    theta = np.rad2deg(data.scan.angles)
    side = data.grid.shape[0]
    views = data.sinogram.cpu().numpy().astype(np.float64).transpose(0, 2, 1)

    def back(window: str) -> Tensor:
        images = [
            iradon(one, theta, output_size=side, filter_name=window, circle=False) for one in views
        ]
        return torch.from_numpy(np.stack(images)).float()

    for window in ("hann", "ramp"):
        took, images = seconds(lambda window=window: back(window), "cpu", 1)  # type: ignore[misc]
        yield f"scikit-image iradon, {window}", "–", took / len(views), images
    margin = (views.shape[1] - side) // 2

    def sart(one: np.ndarray, n: int) -> np.ndarray:
        image = None
        for _ in range(n):
            image = iradon_sart(one, theta, image=image)
        return image[margin : margin + side, margin : margin + side]

    took, image = seconds(lambda: sart(views[0], 2), "cpu", 1)
    note = "2 sweeps" if len(views) == 1 else "2 sweeps, first slice"
    yield "scikit-image iradon_sart", note, took, torch.from_numpy(image)[None].float()


def astra_cpu(
    data: Scanned, iterations: dict[str, int]
) -> Iterator[tuple[str, str, float, Tensor]]:
    """ASTRA's CPU methods with its `linear` projector, slice by slice."""
    try:
        import astra
    except ImportError:
        return
    side = data.grid.shape[0]
    volume = astra.create_vol_geom(side, side)
    rays = astra.create_proj_geom(
        "parallel", 1.0, data.scan.n_detectors, np.array(data.scan.angles)
    )
    projector = astra.create_projector("linear", rays, volume)
    views = data.sinogram.cpu().numpy()

    def solve(kind: str, n: int) -> Tensor:
        images = []
        for one in views:
            sinogram, image = (
                astra.data2d.create("-sino", rays, one),
                astra.data2d.create("-vol", volume),
            )
            config = astra.astra_dict(kind)
            config |= {
                "ProjectorId": projector,
                "ProjectionDataId": sinogram,
                "ReconstructionDataId": image,
            }
            if kind == "FBP":
                config["option"] = {"FilterType": "hann"}
            algorithm = astra.algorithm.create(config)
            astra.algorithm.run(algorithm, n)
            images.append(astra.data2d.get(image))
            astra.algorithm.delete(algorithm)
            astra.data2d.delete([sinogram, image])
        return torch.from_numpy(np.stack(images)).float()

    for kind, n in (("FBP", 1), ("SIRT", iterations["sirt"]), ("CGLS", iterations["cgls"])):
        took, images = seconds(lambda kind=kind, n=n: solve(kind, n), "cpu", 1)  # type: ignore[misc]
        shown = "–" if kind == "FBP" else str(n)
        yield (
            f"ASTRA {kind}, CPU" + (", Hann" if kind == "FBP" else ""),
            shown,
            took / len(views),
            images,
        )
    astra.projector.delete(projector)


def methods_table(folder: Path, n_slices: int, device: str) -> list[tuple[str, ...]]:
    """Rows of the first table."""
    rows = []
    for views in VIEWS:
        data = scanned(aapm(folder, n_slices).to(device), views)
        iterations = {}
        for name, shown, took, images, mean in ours(data, device):
            iterations[name] = mean
            rows.append((str(views), name, shown, *scores(images, data), f"{took:.3f}"))
            print(*rows[-1], flush=True)
        for name, shown, took, images in itertools.chain(
            scikit_image(data), astra_cpu(data, iterations)
        ):
            part = Scanned(**{**vars(data), "truth": data.truth[: len(images)]})
            rows.append((str(views), name, shown, *scores(images, part), f"{took:.3f}"))
            print(*rows[-1], flush=True)
    return rows


def main() -> None:
    """Run all and write the reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BAYESNN_DATA"))
    parser.add_argument("--slices", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    if arguments.data_dir is None:
        parser.error("name the data folder: --data-dir DIR, or BAYESNN_DATA")
    torch.set_num_threads(arguments.threads)
    folder, device = Path(arguments.data_dir), arguments.device
    command = (
        f"python benchmarks/ct_classical.py --data-dir DIR --slices {arguments.slices} "
        f"--threads {arguments.threads} --device {device}"
    )
    Report(
        name=f"ct_classical_{device}",
        title="Classical methods beside scikit-image and ASTRA",
        command=command,
        columns=("views", "method", "iterations", "PSNR (dB)", "SSIM", "seconds a slice"),
        rows=methods_table(folder, arguments.slices, device),
        notes=[
            f"Means over {arguments.slices} AAPM validation slices, 512², 40 dB.",
            "Ours take all slices at once; making the projector's weights does not count.",
            "sirt and cgls stop by themselves, from the noise level.",
            "iradon_sart's image is as wide as the detector, cut to the slice's size.",
        ],
    ).write()


if __name__ == "__main__":
    main()
