"""`bayesnn-ct simulate`: a sinogram of a known image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ct.commands.output import progress_bar


def simulate(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="SINO.h5", help="Sinogram file to write.")
    ],
    image: Annotated[
        Path | None,
        typer.Argument(
            metavar="IMAGE", help=".npy, TIFF, grey PNG or DICOM; left out with --phantom."
        ),
    ] = None,
    views: Annotated[int, typer.Option(help="Angles over --arc.")] = 60,
    snr_db: Annotated[
        float | None,
        typer.Option(help="White noise: signal-to-noise ratio in dB (default: 40); inf: none."),
    ] = None,
    geometry: Annotated[str, typer.Option(help="Kind of scan: parallel or fan.")] = "parallel",
    seed: Annotated[int, typer.Option(help="Seed of the noise and of random phantoms.")] = 0,
    pixel_size: Annotated[
        float | None, typer.Option(help="Side of a pixel in mm (default: the file's, or 1).")
    ] = None,
    arc: Annotated[
        float | None,
        typer.Option(help="Range of the angles in degrees (default: 180 parallel, 360 fan)."),
    ] = None,
    source_origin: Annotated[
        float | None,
        typer.Option(help="Fan: mm from source to axis (default: 2 × the image's longer side)."),
    ] = None,
    source_detector: Annotated[
        float | None,
        typer.Option(
            help="Fan: mm from source to detector (default: 1.5 × --source-origin). The bins are "
            "as wide as it takes to see the image's corners in every view."
        ),
    ] = None,
    photons: Annotated[
        float | None,
        typer.Option(help="Counts of an empty ray: write Poisson counts in place of white noise."),
    ] = None,
    post_log: Annotated[
        bool,
        typer.Option("--post-log", help="With --photons: line integrals and each ray's noise."),
    ] = False,
    attenuation: Annotated[
        float | None,
        typer.Option(help="1/mm that a value of 1 stands for (in HU: water), such as 0.02."),
    ] = None,
    phantom: Annotated[
        str | None,
        typer.Option(
            help="In place of IMAGE: shepp-logan, shepp-logan-1974 or random-shepp-logan, by "
            "exact line integrals."
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Rows and columns of a phantom's image (default: 256).")
    ] = None,
    phantoms: Annotated[
        int | None, typer.Option(help="Slices; random phantoms differ (default: 1).")
    ] = None,
    same_discretisation: Annotated[
        bool,
        typer.Option(
            "--same-discretisation",
            help="Project a phantom's pixels, as reconstructions do: the inverse crime.",
        ),
    ] = False,
    oversample: Annotated[
        int,
        typer.Option(help="Divide an IMAGE's pixels by this along both axes, to avoid that crime."),
    ] = 1,
    samples_per_bin: Annotated[
        int, typer.Option(help="Rays over the width of each detector bin.")
    ] = 1,
    truth: Annotated[
        Path | None,
        typer.Option(metavar="IMAGE.npy", help="Also write what a perfect reconstruction is."),
    ] = None,
) -> None:
    """Make a noisy sinogram of an image, a stack or a phantom, in the image's units times mm."""
    from ct.data.simulate_config import SimulateConfig
    from ct.data.simulation import simulate_file

    if photons is not None and snr_db is not None:
        raise ValueError("--photons and --snr-db: are two kinds of noise; give one of them.")
    config = SimulateConfig(
        image=image,
        output=output,
        views=views,
        snr_db=40.0 if snr_db is None else snr_db,
        geometry=geometry,
        seed=seed,
        pixel_size=pixel_size,
        arc=arc,
        source_origin=source_origin,
        source_detector=source_detector,
        photons=photons,
        post_log=post_log,
        attenuation=attenuation,
        phantom=phantom,
        size=size,
        n_phantoms=phantoms,
        same_discretisation=same_discretisation,
        oversample=oversample,
        samples_per_bin=samples_per_bin,
        truth=truth,
    )
    with progress_bar(f"scan of {phantom if image is None else image.name}") as progress:
        simulate_file(config, progress=progress)
    typer.echo(f"wrote {output}" + ("" if truth is None else f" and {truth}"))
