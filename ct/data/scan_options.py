"""What a user may say of a sinogram file that says nothing, or the wrong thing, of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ScanOptions:
    """What a user may say of a sinogram file; None leaves it to the file.

    Attributes:
        angles: "START:STOP:N" (N angles from START, STOP left out) or a file of angles.
        degrees: whether `angles` are degrees and not radians.
        dataset: name of the dataset that holds the sinogram, in HDF5 and MATLAB files.
        projections: whether a stack holds one image a view, and not one a slice.
        i0: reading of an empty ray, dark level included.
        flats: file of readings without an object.
        flats_after: the same from after the scan, where `flats` are from before it.
        darks: file of readings without light.
        gain: reading of one photon; 1 where the detector counts photons.
        values: "counts" or "line integrals", where recognition is wrong.
        center: detector index of the rotation centre.
        pixel_size: side of a pixel in mm. In a parallel beam the detector's spacing keeps its
            ratio to it, unless `detector_spacing` is given.
        image_size: rows and columns of the image.
        source_origin: distance from the source to the axis of rotation in mm; makes a fan beam.
        source_detector: distance from the source to the detector in mm.
        detector_spacing: distance of two bins in mm, along the detector.
        curved: whether a fan beam's detector is an arc around the source.
    """

    angles: str | None = None
    degrees: bool = False
    dataset: str | None = None
    projections: bool = False
    i0: float | None = None
    flats: Path | None = None
    flats_after: Path | None = None
    darks: Path | None = None
    gain: float | None = None
    values: str | None = None
    center: float | None = None
    pixel_size: float | None = None
    image_size: int | None = None
    source_origin: float | None = None
    source_detector: float | None = None
    detector_spacing: float | None = None
    curved: bool | None = None
