"""The page docs/scans/neutron.md: a neutron sinogram over a full turn, from file to image.

Run: python docs/scans/neutron.py --data-dir DIR [--output docs/images] [--image-size 336]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from pictures import save_pictures

import ct
from ct.artefacts.stripe_size import stripe_ratio
from ct.data.scan_input import open_scan
from ct.data.scan_options import ScanOptions


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the page states.

    Attributes:
        center: the centre of rotation that was found.
        center_error: its standard deviation.
        missing: rays without a measurement.
        stripes_before: variance of stripes over that of a ray's noise.
        stripes_after: the same after their removal.
        chi_squared: of each image, by its method.
        findings: what the alarm names.
    """

    center: float
    center_error: float
    missing: int
    stripes_before: float
    stripes_after: float
    chi_squared: dict[str, float]
    findings: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> Shown:
    """Find the centre, take stripes out, reconstruct, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    parser.add_argument("--image-size", type=int, default=336)
    said = parser.parse_args(arguments)

    # 459 views of which the last repeats the first, a full turn later
    np.savetxt(angles := said.output / "neutron_angles.txt", 2 * np.pi * np.arange(459) / 458)
    options = ScanOptions(angles=str(angles), i0=47_000, values="counts")
    source = open_scan(said.data_dir / "ct_raw" / "neutron_sinogram_360.tif", options)
    _, scan = source.geometry()
    measured = source.read(0)
    angles.unlink()
    sinogram = torch.from_numpy(measured.values)
    noise_std = torch.from_numpy(measured.noise_std)

    found = ct.find_center(sinogram, scan, noise_std=noise_std)
    cleaned = ct.remove_stripes(sinogram)
    pixel = scan.n_detectors / said.image_size * scan.detector_spacing
    grid = ct.ImageGrid((said.image_size, said.image_size), pixel)
    right = ct.ParallelBeam(scan.angles, scan.n_detectors, center=found.center)
    images, chi_squared = {}, {}
    for title, values, where, method in (
        ("centre in the middle of the detector", sinogram, scan, ct.fbp()),
        (f"centre {found.center:.1f}", sinogram, right, ct.fbp()),
        ("and without stripes", cleaned, right, ct.fbp()),
        ("conjugate gradients", cleaned, right, ct.cgls()),
        ("total variation", cleaned, right, ct.tv()),
    ):
        result = ct.reconstruct(values, where, grid, method=method, noise_std=noise_std)
        images[title] = result.mean
        (numbers,) = result.metadata["diagnostics"]
        chi_squared[title] = numbers["residual_chi_squared"]
        names = tuple(one["name"] for one in numbers["findings"])
        print(f"{title}: χ² {chi_squared[title]:.2f}, noticed: {', '.join(names) or 'nothing'}")
    save_pictures(said.output / "neutron.png", images)
    shown = Shown(
        center=found.center,
        center_error=found.error,
        missing=measured.n_missing,
        stripes_before=stripe_ratio(sinogram[None].double()),
        stripes_after=stripe_ratio(cleaned[None].double()),
        chi_squared=chi_squared,
        findings=names,
    )
    print(shown)
    return shown


if __name__ == "__main__":
    main()
