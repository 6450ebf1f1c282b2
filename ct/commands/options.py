"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from ct.data.scan_options import ScanOptions

Angles = Annotated[
    str | None,
    typer.Option(
        metavar="START:STOP:N|FILE",
        help="N angles from START, STOP left out, or a file of angles (.npy or text); radians.",
    ),
]
Degrees = Annotated[bool | None, typer.Option("--degrees", help="The angles are degrees.")]
I0 = Annotated[
    float | None, typer.Option("--i0", help="Counts of an empty ray; needed for counts.")
]
Counts = Annotated[
    bool | None,
    typer.Option(
        "--counts/--line-integrals",
        help="What the values are; recognised where the file does not say.",
        show_default=False,
    ),
]
Center = Annotated[
    float | None,
    typer.Option(help="Detector index of the rotation centre; by default the middle."),
]
PixelSize = Annotated[
    float | None,
    typer.Option(help="Side of a pixel in mm; the detector's spacing keeps its ratio to it."),
]
ImageSize = Annotated[
    int | None,
    typer.Option(help="Rows and columns of the image; by default the file's, or the detector's."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]

SCAN_OPTIONS = {
    "angles": str,
    "degrees": bool,
    "i0": float,
    "counts": bool,
    "center": float,
    "pixel_size": float,
    "image_size": int,
}
"""The options that say something of a sinogram file, and their types."""


def scan_options(
    *,
    angles: str | None,
    degrees: bool | None,
    i0: float | None,
    counts: bool | None,
    center: float | None,
    pixel_size: float | None,
    image_size: int | None,
) -> ScanOptions:
    """Return what the user said of a sinogram file as one object."""
    return ScanOptions(
        angles=angles,
        degrees=bool(degrees),
        i0=i0,
        values=None if counts is None else "counts" if counts else "line integrals",
        center=center,
        pixel_size=pixel_size,
        image_size=image_size,
    )
