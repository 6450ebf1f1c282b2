"""Options that several commands share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from ct.data.scan_options import ScanOptions

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]

_SCAN: dict[str, Any] = {
    "angles": Annotated[
        str | None,
        typer.Option(
            metavar="START:STOP:N|FILE",
            help="N angles from START, STOP left out, or a file of angles (.npy or text); radians.",
        ),
    ],
    "degrees": Annotated[bool | None, typer.Option("--degrees", help="The angles are degrees.")],
    "dataset": Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="The sinogram's name in an HDF5 or MATLAB file, such as scan/data."
        ),
    ],
    "projections": Annotated[
        bool | None,
        typer.Option("--projections", help="The stack holds one image a view, not one a slice."),
    ],
    "counts": Annotated[
        bool | None,
        typer.Option(
            "--counts/--line-integrals",
            help="What the values are; recognised where the file does not say.",
            show_default=False,
        ),
    ],
    "i0": Annotated[
        float | None,
        typer.Option("--i0", help="Counts of an empty ray; needed for counts without flats."),
    ],
    "flats": Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Readings without an object: .npy, TIFF, a folder of TIFFs, or HDF5 as "
            "FILE::DATASET.",
        ),
    ],
    "flats_after": Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Readings without an object from after the scan: i0 goes from --flats to these.",
        ),
    ],
    "darks": Annotated[
        Path | None, typer.Option(metavar="FILE", help="Readings without light, likewise.")
    ],
    "gain": Annotated[
        float | None,
        typer.Option(help="Counts of one photon (default: from the flats, or the noise)."),
    ],
    "center": Annotated[
        float | None,
        typer.Option(help="Detector index of the rotation centre; by default the middle."),
    ],
    "pixel_size": Annotated[
        float | None,
        typer.Option(
            help="Side of a pixel in mm; a parallel beam's detector spacing keeps its ratio to it."
        ),
    ],
    "image_size": Annotated[
        int | None,
        typer.Option(
            help="Rows and columns of the image; by default the file's, or the detector's."
        ),
    ],
    "source_origin": Annotated[
        float | None,
        typer.Option(help="Fan beam: mm from the source to the axis of rotation."),
    ],
    "source_detector": Annotated[
        float | None, typer.Option(help="Fan beam: mm from the source to the detector.")
    ],
    "detector_spacing": Annotated[
        float | None, typer.Option(help="Distance of two detector bins in mm, on the detector.")
    ],
    "curved": Annotated[
        bool | None,
        typer.Option(
            "--curved/--flat-detector",
            help="Fan beam: the detector is an arc around the source (default: flat).",
            show_default=False,
        ),
    ],
}

SCAN_OPTIONS: dict[str, type] = {
    "angles": str,
    "degrees": bool,
    "dataset": str,
    "projections": bool,
    "counts": bool,
    "i0": float,
    "flats": str,
    "flats_after": str,
    "darks": str,
    "gain": float,
    "center": float,
    "pixel_size": float,
    "image_size": int,
    "source_origin": float,
    "source_detector": float,
    "detector_spacing": float,
    "curved": bool,
}
"""The options that say something of a sinogram file, and their types in configuration files."""


def takes_scan_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say something of a sinogram file.

    Args:
        command: a function whose parameter `scan` gets them, as names and values (None where
            nothing was said).

    Returns:
        The same function, with the options in place of `scan`.
    """
    hints = get_type_hints(command, include_extras=True)
    own = [
        parameter.replace(annotation=hints[parameter.name])
        for parameter in inspect.signature(command).parameters.values()
        if parameter.name != "scan"
    ]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=said)
        for name, said in _SCAN.items()
    ]

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        said = {name: given.pop(name) for name in _SCAN}
        command(**given, scan=said)

    keyword_only = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
    # what typer reads in place of the function's own
    with_options.__signature__ = inspect.Signature(keyword_only + shared)  # type: ignore[attr-defined]
    with_options.__annotations__ = {one.name: one.annotation for one in keyword_only + shared}
    return with_options


def scan_options(said: Mapping[str, Any]) -> ScanOptions:
    """Return what the user said of a sinogram file as one object.

    Args:
        said: values by the names of `SCAN_OPTIONS`; None where nothing was said.

    Returns:
        The options.
    """
    words = {name: value for name, value in said.items() if value is not None}
    counts = words.pop("counts", None)
    for name in ("flats", "flats_after", "darks"):
        if name in words:
            words[name] = Path(words[name])
    values = None if counts is None else "counts" if counts else "line integrals"
    return ScanOptions(values=values, **words)
