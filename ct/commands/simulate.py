"""`bayesnn-ct simulate`: a sinogram of a known image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def simulate(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help=".npy, grey PNG or DICOM.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="SINO.h5", help="Sinogram file to write.")
    ],
    views: Annotated[int, typer.Option(help="Angles over half a turn.")] = 60,
    snr_db: Annotated[float, typer.Option(help="Signal-to-noise ratio in dB; inf: none.")] = 40.0,
    geometry: Annotated[str, typer.Option(help="Kind of scan: parallel.")] = "parallel",
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    pixel_size: Annotated[
        float | None, typer.Option(help="Side of a pixel in mm (default: the file's, or 1).")
    ] = None,
) -> None:
    """Make a noisy sinogram of an image or a stack, in the image's own units times mm."""
    from ct.data.simulation import SimulateConfig, simulate_file

    simulate_file(
        SimulateConfig(
            image=image,
            output=output,
            views=views,
            snr_db=snr_db,
            geometry=geometry,
            seed=seed,
            pixel_size=pixel_size,
        )
    )
    typer.echo(f"wrote {output}")
