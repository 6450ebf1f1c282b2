"""`bayesnn-ct info`: what a file holds and what it is taken to be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ct.commands import options
from ct.commands.output import print_json


def info(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Sinogram, result or image.")],
    angles: options.Angles = None,
    degrees: options.Degrees = None,
    i0: options.I0 = None,
    counts: options.Counts = None,
    center: options.Center = None,
    pixel_size: options.PixelSize = None,
    image_size: options.ImageSize = None,
    json: options.Json = False,
) -> None:
    """Say a file's geometry, units and value range, and whether it holds counts."""
    from ct.description import describe_file

    said = options.scan_options(
        angles=angles,
        degrees=degrees,
        i0=i0,
        counts=counts,
        center=center,
        pixel_size=pixel_size,
        image_size=image_size,
    )
    description = describe_file(file, said)
    if json:
        print_json(description)
        return
    width = max(len(key) for key in description)
    for key, value in description.items():
        typer.echo(f"{key.replace('_', ' '):<{width}}  {_readable(value)}")


def _readable(value: object) -> str:
    if value is None or value == "":
        return "not known"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        shown = [_readable(item) for item in value[:8]]
        return ", ".join(shown) + (f" … ({len(value)} in all)" if len(value) > 8 else "")
    if isinstance(value, dict):
        return ", ".join(f"{key} {_readable(item)}" for key, item in value.items())
    return str(value)
