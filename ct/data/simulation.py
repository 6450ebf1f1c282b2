"""Sinograms of known images and phantoms, with noise of a known size, written to a file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from bayesnn.checks import check_count
from bayesnn.files import atomic_write, check_writable
from bayesnn.seeds import seeded_generator
from bayesnn.versions import installed_versions
from ct.data.own_files import check_replaceable, is_array
from ct.data.simulate_config import SimulateConfig, noise_of, scan_of, scanned_of
from ct.data.simulated_noise import Noisy, white_noise
from ct.data.simulated_objects import Scanned
from ct.data.simulated_scans import with_divided_bins
from ct.data.sinogram_file import holds_sinogram, write_sinogram
from ct.geometry import ImageGrid, Scan
from ct.possible_scan import check_memory, check_possible
from ct.problem import Progress
from ct.projectors.operator import Projector


def simulate(
    image: Float32[np.ndarray, "rows columns"],
    operator: Projector,
    *,
    snr_db: float,
    seed: int = 0,
    index: int = 0,
) -> Noisy:
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
    clean = operator(torch.from_numpy(image))
    return white_noise(snr_db).disturb(clean, seeded_generator(seed, index))


def simulate_file(config: SimulateConfig, *, progress: Progress | None = None) -> None:
    """Simulate the scan of an image or a phantom, and write SINO.h5 slice by slice.

    Args:
        config: what to simulate.
        progress: called with (slices done, slices in all).

    Raises:
        ValueError: the image cannot be used, the output not written, a file of another kind is in
            its place, or a setting is impossible; said before work starts.
    """
    check_count(config.seed, "--seed", minimum=0)
    check_output(config.output, config.image)
    check_replaceable(config.output, "sinogram of bayesnn-ct", holds_sinogram)
    if config.truth is not None:
        check_output(config.truth, config.image, suffixes=(".npy",))
        if config.truth.absolute() == config.output.absolute():
            raise ValueError(f"--truth: {config.truth} is the output too; choose another file.")
    noise = noise_of(config)
    scanned = scanned_of(config)
    if config.truth is not None:
        shape = (scanned.n_slices, *scanned.grid.shape)
        what = f"float32 array of the truth's shape {list(shape)}"
        check_replaceable(config.truth, what, lambda path: is_array(path, shape))
    scan = scan_of(config, scanned.grid)
    _check_memory(config, scanned.grid, scan)
    check_possible(scanned.grid, scan)
    project = scanned.along(scan)

    def slices() -> Iterator[Noisy]:
        for index in range(scanned.n_slices):
            yield noise.disturb(project(index), seeded_generator(config.seed, index))
            if progress is not None:  # asked for the next, so this one is written
                progress(index + 1, scanned.n_slices)

    with _written_truth(config.truth, scanned):
        write_sinogram(
            config.output,
            slices(),
            grid=scanned.grid,
            scan=scan,
            n_slices=scanned.n_slices,
            values=noise.values,
            units="counts" if noise.values == "counts" else sinogram_units(scanned.units),
            image_units=scanned.units,
            metadata={
                "source": scanned.source,
                "seed": config.seed,
                "discretisation": scanned.discretisation,
                **noise.settings,
                "versions": versions(),
            },
        )


def check_output(
    output: Path, source: Path | None, *, suffixes: Sequence[str] = (".h5", ".hdf5")
) -> None:
    """Refuse an output that cannot be written, or that would replace its own input.

    Args:
        output: the file to be written.
        source: the file to be read, if there is one.
        suffixes: what its name may end in.

    Raises:
        ValueError: the output cannot be written, is the input, or is named as another kind of file.
    """
    check_writable(output)
    if source is not None and output.exists() and source.exists() and output.samefile(source):
        raise ValueError(f"{output}: is the input, and would be replaced; choose another output.")
    if output.suffix.lower() not in suffixes:
        raise ValueError(f"{output}: expected a name that ends in {' or '.join(suffixes)}.")


def _check_memory(config: SimulateConfig, grid: ImageGrid, scan: Scan) -> None:
    """Refuse an image, or parts of its pixels and of bins, that the memory cannot hold."""
    rows, columns = (n * config.oversample for n in grid.shape)
    finer = ImageGrid((rows, columns), grid.pixel_size / config.oversample)
    rays = with_divided_bins(scan, config.samples_per_bin)
    names = {"--oversample": config.oversample, "--samples-per-bin": config.samples_per_bin}
    name = max(names, key=lambda one: names[one])
    if names[name] == 1:
        name = "IMAGE" if config.phantom is None else "--size"
    check_memory(finer, rays, torch.device("cpu"), name=name)


def sinogram_units(image_units: str) -> str:
    """Return the units of line integrals through an image: its units times mm."""
    if image_units == "1/mm":
        return "1"
    return f"{image_units}·mm" if image_units else ""


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    return installed_versions("bayesnn", "torch", "numpy")


@contextlib.contextmanager
def _written_truth(path: Path | None, scanned: Scanned) -> Iterator[None]:
    """Write the truth slice by slice; it appears only where what follows succeeds too."""
    if path is None:
        yield
        return
    with atomic_write(path) as temporary:
        shape = (scanned.n_slices, *scanned.grid.shape)
        with temporary.open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for index in range(scanned.n_slices):
                file.write(scanned.truth(index).numpy().astype("<f4").tobytes())
        yield
