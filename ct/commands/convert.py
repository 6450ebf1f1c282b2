"""`bayesnn-ct convert`: a result for other programs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from ct.commands.options import Json
from ct.commands.output import print_json, progress_bar


def convert(
    result: Annotated[Path, typer.Argument(metavar="REC.h5", help="Reconstruction.")],
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="Ends in .nii.gz, .nii, .dcm, .tif, .npy, .h5, or .png (one slice)."
        ),
    ],
    what: Annotated[str, typer.Option(help="mean, std, lower or upper.")] = "mean",
    level: Annotated[
        float, typer.Option(help="Share of the truth that lower and upper shall hold between them.")
    ] = 0.95,
    slice_index: Annotated[
        int | None,
        typer.Option("--slice", metavar="N", help="One slice, by its place in REC.h5 from 0."),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="BLACK:WHITE", help="Values of black and white, for PNG (default: the slice's)."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Write the mean or the uncertainty as NIfTI, DICOM, TIFF, NumPy, HDF5 or PNG.

    A point of the object has the same place in all of them: x to the right in the picture (the
    patient's left), y up (the front), slices along z (to the head).
    """
    from ct.output.conversion import convert as convert_file

    limits = None if window is None else _parse_window(window)
    with progress_bar(f"{what} to {output.name}") as progress:
        done = convert_file(
            result,
            output,
            what=what,
            level=level,
            slice_index=slice_index,
            window=limits,
            progress=progress,
        )
    if json:
        print_json({**dataclasses.asdict(done), "output": str(done.output)})
        return
    said = [done.description, done.units, done.window]
    n_slices = f"{done.slices} slice{'s' if done.slices > 1 else ''}"
    typer.echo(f"wrote {done.output} ({', '.join(part for part in [n_slices, *said] if part)})")


def _parse_window(text: str) -> tuple[float, float]:
    black, _, white = text.partition(":")
    try:
        return float(black), float(white)
    except ValueError:
        raise ValueError(
            f"--window: expected BLACK:WHITE, such as -160:240, got {text!r}."
        ) from None
