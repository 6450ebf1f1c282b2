"""The parts on uncertainty of the pages on real scans: pictures, and a check on held-out views.

Run: python docs/scans/uncertainty.py tooth --data-dir DIR [--method mc-dropout]
     [--settings '{"steps": 300}'] [--image-size 160] [--device cuda] [--output docs/images]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from held_out_rays import LEVELS, RayCheck, check_rays
from measured_scans import SCANS
from pictures import save_uncertainty

import ct
from ct.method_choice import choose_method


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the pages state.

    Attributes:
        method: its name.
        image_size: pixels along a side.
        seconds: of the reconstruction from all views.
        chi_squared: mean square of the mean's residual over the noise, a ray.
        median_std: median over the image, as a share of the mean's greatest value.
        check: what held-out views say.
    """

    method: str
    image_size: int
    seconds: float
    chi_squared: float
    median_std: float
    check: RayCheck


def main(arguments: Sequence[str] | None = None) -> Shown:
    """Reconstruct from all views and draw; then check on views that were kept apart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=SCANS)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    parser.add_argument("--method", help="as the command line spells it; the default if left out")
    parser.add_argument("--settings", type=json.loads, default={}, help="JSON")
    parser.add_argument("--image-size", type=int, default=320)
    parser.add_argument("--device", default="cpu")
    said = parser.parse_args(arguments)
    method = None if said.method is None else choose_method(said.method, said.settings)
    one = SCANS[said.name](said.data_dir)
    size = said.image_size
    grid = ct.ImageGrid((size, size), one.width / size)
    sinogram, noise_std = one.sinogram.to(said.device), one.noise_std.to(said.device)

    begin = time.perf_counter()
    result = ct.reconstruct(sinogram, one.scan, grid, method=method, noise_std=noise_std)
    seconds = time.perf_counter() - begin
    save_uncertainty(said.output / f"{said.name}_uncertainty.png", result)
    check = check_rays(
        sinogram, one.scan, grid, method=method, noise_std=noise_std, repeats=one.repeats
    )
    residual = (ct.projector(grid, one.scan)(result.mean) - sinogram) / noise_std
    assert result.std is not None
    shown = Shown(
        method=result.metadata["method"],
        image_size=size,
        seconds=seconds,
        chi_squared=float(residual[noise_std.isfinite()].double().square().mean()),
        median_std=float(result.std.median() / result.mean.max()),
        check=check,
    )
    print(f"{said.name}, {shown.method}, {size}²: {seconds:.0f} s, χ² {shown.chi_squared:.2f}")
    for label, shares in (("its own", check.coverage), ("conformal", check.conformal)):
        covered = ", ".join(f"{100 * level:g} %: {100 * shares[level]:.1f} %" for level in LEVELS)
        print(f"held-out rays covered, intervals {label}: {covered}")
    print(json.dumps(dataclasses.asdict(shown)))
    return shown


if __name__ == "__main__":
    main()
