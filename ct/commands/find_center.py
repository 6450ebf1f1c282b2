"""`bayesnn-ct find-center`: the centre of rotation from the measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ct.commands import options
from ct.commands.output import note, print_json


def find_center(
    sinogram: Annotated[Path, typer.Argument(metavar="SINO.h5", help="Sinogram file.")],
    angles: options.Angles = None,
    degrees: options.Degrees = None,
    i0: options.I0 = None,
    counts: options.Counts = None,
    center: options.Center = None,
    pixel_size: options.PixelSize = None,
    image_size: options.ImageSize = None,
    json: options.Json = False,
) -> None:
    """Find the detector index of the rotation centre, for reconstruct --center."""
    from ct.alignment.center_of_file import find_center_of_file

    said = options.scan_options(
        angles=angles,
        degrees=degrees,
        i0=i0,
        counts=counts,
        center=center,
        pixel_size=pixel_size,
        image_size=image_size,
    )
    found = find_center_of_file(sinogram, said)
    if json:
        print_json(found)
        return
    for doubt in found["notes"]:
        note(f"note: {doubt}")
    typer.echo(
        f"{found['center']:.3f} ± {found['error']:.3f} ({found['method']}; "
        f"reconstruct with --center {found['center']:.3f})"
    )
