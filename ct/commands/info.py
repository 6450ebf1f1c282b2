"""`bayesnn-ct info`: what a file holds and what it is taken to be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ct.commands import options
from ct.commands.output import print_json

_MOST = 16  # names and numbers on a line


@options.takes_scan_options
def info(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Sinogram, result or image, or a folder.")
    ],
    scan: dict[str, Any],
    json: options.Json = False,
) -> None:
    """Say a file's geometry, units and value range, and whether it holds counts."""
    from ct.description import describe_file

    description = describe_file(file, options.scan_options(scan))
    if json:
        print_json(description)
        return
    notes = description.pop("notes", [])
    width = max(len(key) for key in description)
    for key, value in description.items():
        typer.echo(f"{key.replace('_', ' '):<{width}}  {_readable(value)}")
    for doubt in notes:
        typer.echo(f"note: {doubt}")


def _readable(value: object) -> str:
    if value is None or value == "":
        return "not known"
    if value in ({}, []):
        return "none"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        shown = [_readable(item) for item in value[:8]]
        return ", ".join(shown) + (f" … ({len(value)} in all)" if len(value) > 8 else "")
    if isinstance(value, dict):
        said = [f"{key} {_readable(item)}" for key, item in value.items()]
        if len(said) > _MOST and all(_is_number(key) for key in value):  # one for each level
            said = ["…", *said[-4:]]
            return f"{', '.join(said)} ({len(value)} in all)"
        return ", ".join(said)
    return str(value)


def _is_number(key: object) -> bool:
    return str(key).replace(".", "", 1).isdigit()
