"""What a user may say of a sinogram file that says nothing, or the wrong thing, of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ScanOptions:
    """What a user may say of a sinogram file; None leaves it to the file.

    Attributes:
        angles: "START:STOP:N" (N angles from START, STOP left out) or a file of angles.
        degrees: whether `angles` are degrees and not radians.
        i0: counts of an empty ray.
        values: "counts" or "line integrals", where recognition is wrong.
        center: detector index of the rotation centre.
        pixel_size: side of a pixel in mm; the detector's spacing keeps its ratio to it.
        image_size: rows and columns of the image.
    """

    angles: str | None = None
    degrees: bool = False
    i0: float | None = None
    values: str | None = None
    center: float | None = None
    pixel_size: float | None = None
    image_size: int | None = None
