"""The page docs/scans/tooth.md: a Data Exchange scan with flats, darks and angles.

Run: python docs/scans/tooth.py --data-dir DIR [--output docs/images] [--image-size 320]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from pictures import save_pictures

import ct
from ct.artefacts.stripe_size import stripe_ratio
from ct.data.scan_input import open_scan


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the page states.

    Attributes:
        centers: found from each slice.
        center: found from both slices together.
        center_error: its standard deviation.
        darkest: the centre, of those tried, whose image has the least below zero.
        noise: median standard deviation of a ray, from its counts.
        stripes_before: variance of stripes over that of a ray's noise.
        stripes_after: the same after their removal.
        chi_squared: of each image, by its title.
        findings: what the alarm names before stripes are removed.
    """

    centers: tuple[float, ...]
    center: float
    center_error: float
    darkest: float
    noise: float
    stripes_before: float
    stripes_after: float
    chi_squared: dict[str, float]
    findings: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> Shown:
    """Read, find the centre, check it by images, reconstruct, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    parser.add_argument("--image-size", type=int, default=320)
    said = parser.parse_args(arguments)

    source = open_scan(said.data_dir / "ct_raw" / "tooth_dxchange.h5")
    _, scan = source.geometry()
    measured = [source.read(index) for index in range(2)]
    sinograms = torch.stack([torch.from_numpy(one.values) for one in measured])
    noise_std = torch.stack([torch.from_numpy(one.noise_std) for one in measured])

    found = ct.find_center(sinograms, scan, noise_std=noise_std)
    centers = tuple(ct.find_center(one, scan).center for one in sinograms)
    cleaned = ct.remove_stripes(sinograms[0])
    size = said.image_size
    grid = ct.ImageGrid((size, size), scan.n_detectors / size * scan.detector_spacing)

    def scan_about(center: float) -> ct.ParallelBeam:
        return ct.ParallelBeam(scan.angles, scan.n_detectors, center=center)

    tried = np.arange(294, 298.1, 0.5)
    below = [_below_zero(cleaned, scan_about(float(center)), grid) for center in tried]
    for center, amount in zip(tried, below, strict=True):
        print(f"centre {center:.1f}: below zero {amount:.5f}")
    right = scan_about(found.center)
    images, chi_squared, names = {}, {}, {}
    for title, values, where, method in (
        ("centre in the middle of the detector", sinograms[0], scan, ct.fbp()),
        (f"centre {found.center:.2f}", sinograms[0], right, ct.fbp()),
        ("and without stripes", cleaned, right, ct.fbp()),
        ("conjugate gradients", cleaned, right, ct.cgls()),
        ("total variation", cleaned, right, ct.tv()),
    ):
        result = ct.reconstruct(values, where, grid, method=method, noise_std=noise_std[0])
        images[title] = result.mean
        (numbers,) = result.metadata["diagnostics"]
        chi_squared[title] = numbers["residual_chi_squared"]
        names[title] = tuple(one["name"] for one in numbers["findings"])
        print(f"{title}: χ² {chi_squared[title]:.2f}, noticed: {', '.join(names[title]) or '-'}")
    save_pictures(said.output / "tooth.png", images)
    shown = Shown(
        centers=centers,
        center=found.center,
        center_error=found.error,
        darkest=float(tried[int(np.argmin(below))]),
        noise=float(noise_std[0].median()),
        stripes_before=stripe_ratio(sinograms[:1].double()),
        stripes_after=stripe_ratio(cleaned[None].double()),
        chi_squared=chi_squared,
        findings=names[f"centre {found.center:.2f}"],
    )
    print(shown)
    return shown


def _below_zero(
    sinogram: Float[Tensor, "views detectors"], scan: ct.ParallelBeam, grid: ct.ImageGrid
) -> float:
    """Return the mass of the image below zero over all of it: misplaced views make both."""
    image = ct.reconstruct(sinogram, scan, grid, method=ct.fbp(), noise_std=1.0).mean
    return float(-image.clamp(max=0).sum() / image.abs().sum())


if __name__ == "__main__":
    main()
