"""The page docs/scans/uncertainty.md: error bars of the real scans, checked on held-out views.

Run: python docs/scans/uncertainty.py --data-dir DIR [--scans tooth,neutron] [--device cuda]
     [--method mc-dropout] [--settings '{"steps": 300}'] [--image-size 160] [--output DIR]

Each scan is written as soon as it is done; those of an earlier run stay.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
from held_out_rays import LEVELS, RayCheck, check_rays
from measured_scans import SCANS
from pictures import save_uncertainty

import ct
from bayesnn.files import atomic_write
from ct.method_choice import choose_method
from ct.problem import Method

DOCS = Path(__file__).parents[1]
SIDES = {"tooth": 320, "neutron": 336, "helsinki": 512}
TITLE = """\
# Error bars of real scans

What the truth is, nobody knows here. But views can be kept apart: of every ten, one is for a
calibration, one for the check, and eight are fitted (where views see the same lines from the other
side, both are kept apart). Of the eight, the method takes some for the calibration of its own. The
checked views' rays are then compared with the mean's line integrals, in intervals that join the
spread of the samples' line integrals and the ray's noise.
"""
NOTES = """\
- "Its own" intervals are as the method gives them; nobody saw the checked views. "Conformal"
  intervals are √(spread² + noise²) times the factor that held the calibration's rays, so they
  hold about the right share by construction: their widths are what to look at.
- A ray sums the errors of all pixels along it, which are correlated. That its interval holds the
  ray is needed, and it is no proof that each pixel's interval holds the pixel.
- χ² is the mean square of the checked rays' residuals over the noise. Above 1 there is what the
  noise does not explain: errors of the mean, coarse pixels, beam hardening (tooth, neutrons).
- These scans are not untouched. That frequencies of rays finer than a pixel have to be left out of
  the calibration (the tooth's pixels are five times coarser than its bins; 95 % intervals held
  84 %), that understated noise must not pass for errors (Helsinki), and that what no image explains
  has low frequencies (neutrons: 95 % intervals held 88 %), was seen on them.
- Seconds are of a GPU that had other work at the same time, where the device is one.
- Helsinki's bins share noise with their neighbours; its size is taken from differences between
  views, and intervals of single rays need no more. Directions outside the quarter turn are seen
  by no held-out view either: about edges along them nothing is checked here.
"""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the page states of a scan.

    Attributes:
        method: its name.
        image_size: pixels along a side.
        seconds: of the reconstruction from all views.
        device: where that was.
        chi_squared: mean square of the mean's residual over the noise, a ray, all views fitted.
        check: what held-out views say.
    """

    method: str
    image_size: int
    seconds: float
    device: str
    chi_squared: float
    check: RayCheck


def show(
    name: str, data_dir: Path, *, method: Method | None, side: int | None, device: str, to: Path
) -> Shown:
    """Reconstruct from all views and draw; then check on views that are kept apart.

    Args:
        name: of the scan.
        data_dir: holds ct_raw.
        method: with samples; None for the default.
        side: pixels along a side; None for the page's.
        device: where to compute.
        to: folder of the picture.
    """
    one = SCANS[name](data_dir)
    size = SIDES[name] if side is None else side
    grid = ct.ImageGrid((size, size), one.width / size)
    sinogram, noise_std = one.sinogram.to(device), one.noise_std.to(device)
    begin = time.perf_counter()
    result = ct.reconstruct(sinogram, one.scan, grid, method=method, noise_std=noise_std)
    mean = result.mean.cpu()
    seconds = time.perf_counter() - begin
    save_uncertainty(to / f"{name}_uncertainty.png", result)
    check = check_rays(
        sinogram, one.scan, grid, method=method, noise_std=noise_std, repeats=one.repeats
    )
    residual = (ct.projector(grid, one.scan)(mean) - one.sinogram) / one.noise_std
    return Shown(
        method=str(result.metadata["method"]),
        image_size=size,
        seconds=seconds,
        device=torch.cuda.get_device_name() if device.startswith("cuda") else "CPU",
        chi_squared=float(residual[one.noise_std.isfinite()].double().square().mean()),
        check=check,
    )


def page(records: dict[str, dict[str, Any]]) -> str:
    """Return the page, from what each scan showed."""
    columns = (
        "scan", "pixels", "method", "views fitted / calibration / checked",
        "rays in 50 / 90 / 95 % intervals: its own", "conformal",
        "half width of 95 % intervals over the noise (median): its own", "conformal",
        "χ² of checked rays", "seconds",
    )  # fmt: skip
    rows = []
    for name, one in records.items():
        check = one["check"]
        views = [check[f"views_{part}"] for part in ("fitted", "calibrated", "checked")]
        rows.append((
            name,
            f"{one['image_size']}²",
            one["method"],
            " / ".join(map(str, views)),
            *(
                " / ".join(f"{100 * check[key][str(level)]:.1f}" for level in LEVELS)
                for key in ("coverage", "conformal")
            ),
            f"{check['half_width']:.1f}",
            f"{check['conformal_half_width']:.1f}",
            f"{check['chi_squared']:.2f}",
            f"{one['seconds']:.0f} ({one['device']})",
        ))
    table = "\n".join(
        "| " + " | ".join(line) + " |" for line in (columns, ["---"] * len(columns), *rows)
    )
    calibrations = {name: one["check"]["calibration"] for name, one in records.items()}
    said = "; ".join(f"{name}: {text}" for name, text in calibrations.items())
    pictures = "\n\n".join(
        f"![{name}: mean, standard deviation, width of 95 % intervals]"
        f"(../images/{name}_uncertainty.png)"
        for name in records
    )
    lines = dict.fromkeys(one["command"] for one in records.values())
    made = "Made by " + ", ".join(f"`{line}`" for line in lines) + "."
    own = f"The method's own calibration: {said}."
    return "\n\n".join([TITLE.strip(), table, own, NOTES.strip(), made, pictures]) + "\n"


def main(arguments: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """Show each scan, and write what is known of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--scans", default=",".join(SCANS))
    parser.add_argument("--output", type=Path, help="one folder for all; docs if left out")
    parser.add_argument("--method", help="as the command line spells it; the default if left out")
    parser.add_argument("--settings", type=json.loads, default={}, help="JSON")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--device", default="cpu")
    said = parser.parse_args(arguments)
    options = {
        "method": said.method,
        "settings": json.dumps(said.settings) if said.settings else None,
        "image-size": said.image_size,
        "device": said.device,
    }
    command = "python docs/scans/uncertainty.py --data-dir DIR" + "".join(
        f" --{name} {shlex.quote(str(value))}" for name, value in options.items() if value
    )
    method = None if said.method is None else choose_method(said.method, said.settings)
    texts, pictures = said.output or DOCS / "scans", said.output or DOCS / "images"
    kept = texts / "uncertainty.json"
    records: dict[str, dict[str, Any]] = json.loads(kept.read_text()) if kept.is_file() else {}
    for name in said.scans.split(","):
        shown = show(
            name,
            said.data_dir,
            method=method,
            side=said.image_size,
            device=said.device,
            to=pictures,
        )
        print(f"{name}: {shown}", flush=True)
        records[name] = json.loads(json.dumps(dataclasses.asdict(shown))) | {"command": command}
        for path, text in (
            (kept, json.dumps(records, indent=1) + "\n"),
            (texts / "uncertainty.md", page(records)),
        ):
            with atomic_write(path) as temporary:
                temporary.write_text(text)
    return records


if __name__ == "__main__":
    main()
