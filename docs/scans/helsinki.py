"""The page docs/scans/helsinki.md: a fan-beam scan over 90°, from a MATLAB file to a segmentation.

Run: python docs/scans/helsinki.py --data-dir DIR [--output docs/images] [--quick]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from scipy.io import loadmat
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from pictures import save_pictures

import ct
from ct.cli import run as bayesnn_ct

SIDE = 512


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the page states.

    Attributes:
        dice: overlap with the published segmentation, by method.
        chi_squared: mean square of the residual over the noise, a ray, by method.
        gap: relative duality gap, by method.
        noise: the estimated noise of a ray.
    """

    dice: dict[str, float]
    chi_squared: dict[str, float]
    gap: dict[str, float]
    noise: float


def otsu(image: Tensor) -> float:
    """Return the threshold that parts the histogram best into two; it asks no truth."""
    from skimage.filters import threshold_otsu

    find: Callable[[np.ndarray], float] = threshold_otsu
    return float(find(image.numpy()))


def dice(one: Bool[Tensor, "rows columns"], other: Bool[Tensor, "rows columns"]) -> float:
    """Return twice the common area over the sum of both."""
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


def reconstruct(
    scan: Path, folder: Path, noise_std: float, settings: dict[str, float]
) -> ct.Reconstruction:
    """Run the command line as a user would."""
    config = folder / "tv.json"
    config.write_text(json.dumps({"settings": settings}))
    output = folder / f"tv_{len(settings)}.h5"
    line = ["reconstruct", str(scan), "-o", str(output), "--method", "tv", "--remove-stripes"]
    line += ["--noise-std", f"{noise_std:.6g}", "--image-size", str(SIDE)]
    code = bayesnn_ct([*line, "--config", str(config)])
    if code:
        raise SystemExit(code)
    return ct.Reconstruction.load(output).single(0)


def main(arguments: Sequence[str] | None = None) -> Shown:
    """Reconstruct twice, without bounds and between air and the material found; then score."""
    from skimage.io import imread

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    parser.add_argument("--quick", action="store_true", help="a loose gap, for tests")
    said = parser.parse_args(arguments)
    folder = said.data_dir / "ct_raw"
    truth = torch.from_numpy(np.asarray(imread(folder / "htc2022_tb_truth.png")) > 0)
    loose = {"tolerance": 0.3} if said.quick else {}
    with tempfile.TemporaryDirectory() as name:
        scan = folder / "htc2022_tb_90deg.mat"
        sinogram = loadmat(scan, simplify_cells=True)["CtDataLimited"]["sinogram"]
        noise_std = ct.estimate_noise_std_between_views(sinogram)
        free = reconstruct(scan, Path(name), noise_std, loose)
        image = free.mean
        material = float(image[image > otsu(image)].median())
        bounds = {**loose, "minimum": 0.0, "maximum": material}
        bound = reconstruct(scan, Path(name), noise_std, bounds)
    found = {"without bounds": free, "between air and the material": bound}
    segments = {label: one.mean > otsu(one.mean) for label, one in found.items()}
    numbers = {label: one.metadata["diagnostics"][0] for label, one in found.items()}
    pictures = {"TV": free.mean, "TV, bounded": bound.mean}
    pictures["published segmentation × material"] = material * truth.to(image)
    save_pictures(said.output / "helsinki.png", pictures)
    shown = Shown(
        dice={label: dice(one, truth) for label, one in segments.items()},
        chi_squared={label: one["chi_squared_per_ray"] for label, one in numbers.items()},
        gap={label: one["relative_gap"] for label, one in numbers.items()},
        noise=noise_std,
    )
    print(shown)
    return shown


if __name__ == "__main__":
    main()
