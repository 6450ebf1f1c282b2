"""`bayesnn-ct find-center`: the centre of rotation from the measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ct.commands import options
from ct.commands.output import note, print_json


@options.takes_scan_options
def find_center(
    sinogram: Annotated[Path, typer.Argument(metavar="SINO.h5", help="Sinogram file.")],
    scan: dict[str, Any],
    json: options.Json = False,
) -> None:
    """Find the detector index of the rotation centre, for reconstruct --center."""
    from ct.alignment.center_of_file import find_center_of_file

    found = find_center_of_file(sinogram, options.scan_options(scan))
    if json:
        print_json(found)
        return
    for doubt in found["notes"]:
        note(f"note: {doubt}")
    typer.echo(
        f"{found['center']:.3f} ± {found['error']:.3f} ({found['method']}; "
        f"reconstruct with --center {found['center']:.3f})"
    )
