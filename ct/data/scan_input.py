"""A sinogram file together with what the user says of it: a scan ready to reconstruct."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ct.data.air_readings import with_air
from ct.data.calibration import Calibration, calibrate
from ct.data.counts import measure
from ct.data.measured import Measured
from ct.data.scan_geometry import settle_geometry
from ct.data.scan_options import ScanOptions
from ct.data.shown import shown
from ct.data.sinogram import SinogramFile
from ct.data.sinogram_file import open_sinogram
from ct.data.values import ValueSummary, summarise
from ct.geometry import ImageGrid, Scan


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanInput:
    """A checked sinogram file with its geometry and the meaning of its values.

    Attributes:
        file: what the file says of itself.
        grid: the image to reconstruct; None without angles.
        scan: the rays; None without angles.
        summary: what the values look like.
        values: "counts" or "line integrals".
        values_from: why: "given", "the file", "flats" or "recognised".
        calibration: what turns counts into line integrals; None for line integrals, and for
            counts of which nobody says what an empty ray reads.
    """

    file: SinogramFile
    grid: ImageGrid | None
    scan: Scan | None
    summary: ValueSummary
    values: str
    values_from: str
    calibration: Calibration | None = None

    @property
    def i0(self) -> float | None:
        """Reading of an empty ray, where the user gave one number."""
        return None if self.calibration is None else self.calibration.i0

    @property
    def image_units(self) -> str:
        """Units of the reconstruction: the file's, or 1/mm for counts."""
        return "1/mm" if self.values == "counts" else self.file.image_units

    def read(self, index: int) -> Measured:
        """Return one slice's line integrals, and what is known of their noise.

        Raises:
            ValueError: counts without i0 or flats, or that cannot be used.
        """
        values = self.file.read(index)
        if self.values == "line integrals":
            noise = self.file.ray_noise
            return Measured(values=values, noise_std=None if noise is None else noise.read(index))
        if self.calibration is None:
            raise ValueError(
                f"{self.file.path}: the values are counts ({self.values_from}); give --i0, the "
                "counts of an empty ray, or --flats, or say --line-integrals."
            )
        try:
            return measure(values, self.calibration.response(index), self.calibration.gain)
        except ValueError as error:
            raise ValueError(f"{self.file.path}: slice {index}: {error}") from error

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

    def image_geometry(self) -> tuple[ImageGrid, Scan]:
        """Return grid and scan of a scan that an image can be made from.

        Raises:
            ValueError: no angles, one view alone, or views from one direction alone.
        """
        grid, scan = self.geometry()
        if scan.n_views == 1:
            raise ValueError(
                f"{self.file.path}: expected views from several angles, found one view (shape "
                f"{list(self.file.shape)}); no image can be made from it."
            )
        if min(scan.angles) == max(scan.angles):
            raise ValueError(
                f"{self.file.path}: expected views from several angles, found {scan.n_views} from "
                f"the same one ({scan.angles[0]:g}); check --angles."
            )
        return grid, scan


def open_scan(path: str | os.PathLike[str], options: ScanOptions | None = None) -> ScanInput:
    """Open a sinogram file and settle its geometry and the meaning of its values.

    What the user says comes first, then what the file says. Where neither says, pixels and
    detector bins are 1 mm, the image is as wide as the detector (so it holds all that rays
    meet), and `ValueSummary.looks_like_counts` tells counts from line integrals.

    Args:
        path: a sinogram in any format that `open_sinogram` knows.
        options: what the user says of it.

    Returns:
        The scan; its grid is None where there are no angles.

    Raises:
        ValueError: the file cannot be used, its parts or the options disagree, or a value is NaN
            or infinite.
    """
    options = options or ScanOptions()
    file = open_sinogram(path, dataset=options.dataset, projections=options.projections)
    file = with_air(file, options)
    geometry = settle_geometry(file, options)
    values, source = _said(file, options)
    calibration = None if values == "line integrals" else calibrate(file, options)
    summary = summarise(file, None if calibration is None else calibration.broken)
    values = values or ("counts" if summary.looks_like_counts else "line integrals")
    if values == "line integrals":
        _check_no_counts(file, options, source)
        calibration = None
    elif summary.minimum < 0 and file.darks is None:
        raise ValueError(
            f"{file.path}: counts cannot be negative, found {summary.minimum:g}; say "
            "--line-integrals."
        )
    grid, scan = geometry or (None, None)
    return ScanInput(
        file=file,
        grid=grid,
        scan=scan,
        summary=summary,
        values=values,
        values_from=source,
        calibration=None if calibration is None else calibration.with_gain(options.gain),
    )


def _said(file: SinogramFile, options: ScanOptions) -> tuple[str, str]:
    """Return what the values are, where anyone says so, and who does."""
    if options.values is not None:
        said, source = options.values, "given"
    elif options.flats is not None:
        said, source = "counts", "flats"
    elif file.values:
        said, source = file.values, "the file"
    else:
        return "", "recognised"
    if said not in {"counts", "line integrals"}:
        raise ValueError(
            f"{file.path}: expected values to be counts or line integrals, found "
            f"{shown(said, 40)!r}; say --counts or --line-integrals."
        )
    return said, source


def _check_no_counts(file: SinogramFile, options: ScanOptions, source: str) -> None:
    for name in ("i0", "flats", "flats_after", "darks", "gain"):
        if getattr(options, name) is not None:
            option = "--" + name.replace("_", "-")
            raise ValueError(
                f"{file.path}: {option} is for counts, but the values are line integrals "
                f"({source}); say --counts, or leave {option} out."
            )
