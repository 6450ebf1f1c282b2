"""A sinogram file together with what the user says of it: a scan ready to reconstruct."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from bayesnn.checks import check_count, check_positive
from ct.data.file_start import read_start
from ct.data.measured import Measured
from ct.data.npy_file import load_npy
from ct.data.scan_options import ScanOptions
from ct.data.sinogram_file import SinogramFile, open_sinogram
from ct.data.values import ValueSummary, line_integrals, summarise
from ct.geometry import ImageGrid, ParallelBeam, Scan

_RANGE = re.compile(r"^([^:]+):([^:]+):(\d+)$")


@dataclass(frozen=True, kw_only=True)
class ScanInput:
    """A checked sinogram file with its geometry and the meaning of its values.

    Attributes:
        file: what the file says of itself.
        grid: the image to reconstruct; None without angles.
        scan: the rays; None without angles.
        summary: what the values look like.
        values: "counts" or "line integrals".
        values_from: why: "given", "the file" or "recognised".
        i0: counts of an empty ray; None for line integrals.
    """

    file: SinogramFile
    grid: ImageGrid | None
    scan: Scan | None
    summary: ValueSummary
    values: str
    values_from: str
    i0: float | None

    @property
    def image_units(self) -> str:
        """Units of the reconstruction: the file's, or 1/mm for counts."""
        return "1/mm" if self.values == "counts" else self.file.image_units

    def read(self, index: int) -> Measured:
        """Return one slice's line integrals, and what is known of their noise."""
        values = self.file.read(index)
        if self.values == "line integrals":
            return Measured(values=values)
        if self.i0 is None:
            raise ValueError(
                f"{self.file.path}: the values are counts ({self.values_from}); give --i0, the "
                "counts of an empty ray, or say --line-integrals."
            )
        integrals, n_raised = line_integrals(values, self.i0)
        return Measured(values=integrals, n_raised=n_raised)

    def geometry(self) -> tuple[ImageGrid, Scan]:
        """Return grid and scan.

        Raises:
            ValueError: neither the file nor the user gave the angles.
        """
        if self.grid is None or self.scan is None:
            raise ValueError(
                f"{self.file.path}: the file holds no angles; give them, such as --angles "
                f"0:180:{self.file.shape[1]} --degrees."
            )
        return self.grid, self.scan


def open_scan(path: str | os.PathLike[str], options: ScanOptions | None = None) -> ScanInput:
    """Open a sinogram file and settle its geometry and the meaning of its values.

    What the user says comes first, then what the file says. Where neither says, pixels and
    detector bins are 1 mm, the image is as wide as the detector (so it holds all that rays
    meet), and `ValueSummary.looks_like_counts` tells counts from line integrals.

    Args:
        path: HDF5 or .npy sinogram.
        options: what the user says of it.

    Returns:
        The scan; its grid is None where there are no angles.

    Raises:
        ValueError: the file cannot be used, its parts or the options disagree, or a value is NaN
            or infinite.
    """
    options = options or ScanOptions()
    file = open_sinogram(path)
    geometry = _geometry(file, options)
    values, values_from, summary = _meaning(file, options)
    return ScanInput(
        file=file,
        grid=geometry and geometry[0],
        scan=geometry and geometry[1],
        summary=summary,
        values=values,
        values_from=values_from,
        i0=None if options.i0 is None else check_positive(options.i0, "--i0"),
    )


def parse_angles(text: str, *, degrees: bool) -> tuple[float, ...]:
    """Read angles from START:STOP:N or from a file of numbers (.npy or text).

    Args:
        text: the range, STOP left out, or the file's name.
        degrees: whether the numbers are degrees.

    Returns:
        The angles in radians.

    Raises:
        ValueError: the range or the file cannot be read, or holds no finite numbers.

    Example:
        >>> [round(a, 4) for a in parse_angles("0:180:4", degrees=True)]
        [0.0, 0.7854, 1.5708, 2.3562]
    """
    match = _RANGE.match(text)
    if match:
        try:
            start, stop = float(match[1]), float(match[2])
        except ValueError:
            raise ValueError(
                f"--angles: expected START:STOP:N, such as 0:180:60, got {text!r}."
            ) from None
        count = check_count(int(match[3]), "--angles: N")
        angles = start + (stop - start) * np.arange(count) / count
    else:
        angles = _angles_of_file(text)
    if not np.isfinite(angles).all() or angles.size == 0:
        raise ValueError(f"--angles: expected finite numbers, got {text!r}.")
    if not degrees and np.abs(angles).max() > 4 * np.pi:
        raise ValueError(
            f"--angles: expected radians, got values up to {np.abs(angles).max():g}; say --degrees."
        )
    return tuple((np.deg2rad(angles) if degrees else angles).tolist())


def _angles_of_file(text: str) -> Float64[np.ndarray, " angles"]:
    path = Path(text)
    if not path.exists():
        raise ValueError(f"--angles: expected START:STOP:N or a file of angles, got {text!r}.")
    if read_start(path).startswith(b"\x93NUMPY"):
        return np.array(load_npy(path), dtype=np.float64).ravel()
    try:
        words = path.read_text(encoding="utf-8").replace(",", " ").replace(";", " ").split()
        return np.array([float(word) for word in words])
    except ValueError as error:
        raise ValueError(f"--angles: {path} holds other things than numbers ({error}).") from None


def _geometry(file: SinogramFile, options: ScanOptions) -> tuple[ImageGrid, Scan] | None:
    _, views, detectors = file.shape
    angles, source = _angles(file, options)
    if angles is None:
        return None
    if len(angles) != views:
        raise ValueError(
            f"{file.path}: the sinogram has {views} views (shape {list(file.shape)}) but "
            f"{source} {len(angles)} angles; make them agree."
        )
    grid = ImageGrid((detectors, detectors))
    scan: Scan = ParallelBeam(angles, detectors)
    if file.geometry is not None:
        grid, scan = file.geometry
        if scan.n_detectors != detectors:
            raise ValueError(
                f"{file.path}: the sinogram has {detectors} detectors (shape {list(file.shape)}) "
                f"but its geometry says {scan.n_detectors}; make them agree."
            )
    scale = 1.0
    if options.pixel_size is not None:
        scale = check_positive(options.pixel_size, "--pixel-size") / grid.pixel_size
    if options.center is not None and not math.isfinite(options.center):
        raise ValueError(f"--center: expected a detector index, got {options.center}.")
    shape = grid.shape
    if options.image_size is not None:
        side = check_count(options.image_size, "--image-size")
        shape = (side, side)
    return ImageGrid(shape, grid.pixel_size * scale), ParallelBeam(
        angles,
        detectors,
        scan.detector_spacing * scale,
        scan.center if options.center is None else options.center,
    )


def _angles(file: SinogramFile, options: ScanOptions) -> tuple[tuple[float, ...] | None, str]:
    if options.angles is not None:
        return parse_angles(options.angles, degrees=options.degrees), "--angles gives"
    if options.degrees:
        raise ValueError("--degrees: only says what --angles are; give --angles too.")
    in_geometry = None if file.geometry is None else file.geometry[1].angles
    if file.angles is None or in_geometry is None:
        return file.angles or in_geometry, "the file holds"
    if len(file.angles) == len(in_geometry) and not np.allclose(
        file.angles, in_geometry, rtol=0, atol=1e-6
    ):
        raise ValueError(
            f"{file.path}: its dataset 'angles' and its geometry's angles differ; give --angles."
        )
    # a count that differs is reported against the sinogram's shape
    wrong = len(file.angles) != file.shape[1]
    return (file.angles if wrong else in_geometry), "the file holds"


def _meaning(file: SinogramFile, options: ScanOptions) -> tuple[str, str, ValueSummary]:
    summary = summarise(file)
    if options.values is not None:
        values, source = options.values, "given"
    elif file.values:
        values, source = file.values, "the file"
    else:
        values = "counts" if summary.looks_like_counts else "line integrals"
        source = "recognised"
    if values not in {"counts", "line integrals"}:
        raise ValueError(
            f"{file.path}: expected values to be counts or line integrals, found {values!r}; say "
            "--counts or --line-integrals."
        )
    if values == "counts" and summary.minimum < 0:
        raise ValueError(
            f"{file.path}: counts cannot be negative, found {summary.minimum:g}; say "
            "--line-integrals."
        )
    if values == "line integrals" and options.i0 is not None:
        raise ValueError(
            f"{file.path}: --i0 is for counts, but the values are line integrals ({source}); say "
            "--counts, or leave --i0 out."
        )
    return values, source, summary
