"""`bayesnn-ct region`: a region's mean, and how certain it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from ct.commands.options import Json
from ct.commands.output import print_json


def region(
    result: Annotated[Path, typer.Argument(metavar="REC.h5", help="Reconstruction with samples.")],
    mask: Annotated[
        Path,
        typer.Option(
            metavar="IMAGE",
            help="Above 0 inside: one slice for the same region in every slice, or a stack.",
        ),
    ],
    level: Annotated[float, typer.Option(help="What the interval shall cover.")] = 0.95,
    json: Json = False,
) -> None:
    """Give the mean over a region with its interval, from joint samples."""
    from ct.region_file import region_of_file

    found = region_of_file(result, mask, level=level)
    if json:
        print_json(dataclasses.asdict(found))
        return
    names = [f"slice {number}" for number in found.slices]
    if len(found.mean) < len(names):
        names = [f"slices {found.slices[0]} to {found.slices[-1]}"]
    unit = f" {found.units}" if found.units else ""
    for name, *numbers in zip(names, found.mean, found.std, found.lower, found.upper, strict=True):
        mean, std, lower, upper = (f"{number:.6g}" for number in numbers)
        typer.echo(f"{name}: {mean}{unit}, {100 * level:g} % interval {lower} to {upper}, ± {std}")
    typer.echo(f"{found.n_pixels} pixels, {found.n_samples} joint samples")
