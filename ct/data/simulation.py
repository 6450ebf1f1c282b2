"""Sinograms of known images, with noise of a known size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from bayesnn.checks import check_count, check_positive
from bayesnn.files import check_writable
from bayesnn.seeds import seeded_generator
from bayesnn.versions import installed_versions
from ct.data.image_stack import ImageStack
from ct.data.images import read_image
from ct.data.sinogram_file import write_sinogram
from ct.geometry import ImageGrid, ParallelBeam
from ct.projectors.operator import Projector, projector


@dataclass(frozen=True, kw_only=True)
class SimulateConfig:
    """What `bayesnn-ct simulate` was asked for.

    Attributes:
        image: file of the image or stack.
        output: sinogram file to write.
        views: number of angles over half a turn.
        snr_db: signal-to-noise ratio in dB; infinity for no noise.
        geometry: kind of scan; "parallel".
        seed: seed of the noise.
        pixel_size: side of a pixel in mm, for images that do not say (1 mm by default).
    """

    image: Path
    output: Path
    views: int = 60
    snr_db: float = 40.0
    geometry: str = "parallel"
    seed: int = 0
    pixel_size: float | None = None


def parallel_scan(grid: ImageGrid, *, views: int) -> ParallelBeam:
    """Return the parallel-beam scan that simulations use: it sees all of the image.

    θ_k = kπ/views, and ceil(√2·N) + 1 detector bins, N the longer side, as wide as a pixel.

    Args:
        grid: the image's grid.
        views: number of angles.

    Returns:
        The scan.

    Raises:
        ValueError: `views` is not a whole number above zero.

    Example:
        >>> parallel_scan(ImageGrid((512, 512)), views=60).n_detectors
        726
    """
    views = check_count(views, "views")
    return ParallelBeam(
        angles=tuple(k * math.pi / views for k in range(views)),
        n_detectors=math.ceil(math.sqrt(2) * max(grid.shape)) + 1,
        detector_spacing=grid.pixel_size,
    )


def simulate(
    image: Float32[np.ndarray, "rows columns"],
    operator: Projector,
    *,
    snr_db: float,
    seed: int = 0,
    index: int = 0,
) -> tuple[Float32[np.ndarray, "views detectors"], float]:
    """Project one slice and add Gaussian noise: y = Ax + ε, σ² = mean((Ax)²)·10^(−snr/10).

    Args:
        image: the slice, in its own units.
        operator: A, the map from image to sinogram.
        snr_db: signal-to-noise ratio in dB; infinity for no noise.
        seed: seed of the noise.
        index: the slice's number in its stack; every slice has its own stream of noise.

    Returns:
        The sinogram, and σ in its units.

    Raises:
        ValueError: `snr_db` is NaN or minus infinity.
    """
    if math.isnan(snr_db) or snr_db == -math.inf:
        raise ValueError(f"snr_db: expected a number of dB, got {snr_db}.")
    clean = operator(torch.from_numpy(image))
    noise_std = math.sqrt(float(clean.double().square().mean()) * 10 ** (-snr_db / 10))
    noise = torch.randn(clean.shape, generator=seeded_generator(seed, index))
    return (clean + noise_std * noise).numpy(), noise_std


def simulate_file(config: SimulateConfig) -> None:
    """Read an image, simulate its scan, and write SINO.h5 slice by slice.

    Args:
        config: what to simulate.

    Raises:
        ValueError: the image cannot be used, the output not written, or a setting is impossible;
            said before work starts.
    """
    if config.geometry != "parallel":
        raise ValueError(
            f"--geometry: expected parallel, got {config.geometry!r}; no other geometry is "
            "supported yet."
        )
    check_count(config.seed, "--seed", minimum=0)
    check_output(config.output, config.image)
    image = read_image(config.image)
    grid = ImageGrid(image.shape[1:], _pixel_size(image, config.pixel_size))
    scan = parallel_scan(grid, views=config.views)
    write_sinogram(
        config.output,
        _slices(image, projector(grid, scan), config),
        grid=grid,
        scan=scan,
        n_slices=image.shape[0],
        units=sinogram_units(image.units),
        image_units=image.units,
        metadata={
            "source": image.source,
            "seed": config.seed,
            "snr_db": config.snr_db,
            "versions": versions(),
        },
    )


def check_output(output: Path, source: Path) -> None:
    """Refuse an output that cannot be written, or that would replace its own input.

    Args:
        output: the file to be written.
        source: the file to be read.

    Raises:
        ValueError: the output cannot be written, or is the input.
    """
    check_writable(output)
    if output.exists() and source.exists() and output.samefile(source):
        raise ValueError(f"{output}: is the input, and would be replaced; choose another output.")


def sinogram_units(image_units: str) -> str:
    """Return the units of line integrals through an image: its units times mm."""
    return f"{image_units}·mm" if image_units else ""


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    return installed_versions("bayesnn", "torch", "numpy")


def _slices(
    image: ImageStack, operator: Projector, config: SimulateConfig
) -> Iterator[tuple[Float32[np.ndarray, "views detectors"], float]]:
    for index in range(image.shape[0]):
        yield simulate(
            image.read(index), operator, snr_db=config.snr_db, seed=config.seed, index=index
        )


def _pixel_size(image: ImageStack, given: float | None) -> float:
    if given is not None:
        return check_positive(given, "--pixel-size")
    return 1.0 if image.pixel_size is None else image.pixel_size
