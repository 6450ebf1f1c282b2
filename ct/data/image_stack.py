"""Images with their units and pixel size, read slice by slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from ct.data.stack import Stack


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageStack:
    """Slices of one size in their own units, on disk until they are read.

    Attributes:
        stack: the slices.
        units: "HU" for DICOM CT, "grey value" for whole numbers of PNG and TIFF, "" where the
            file does not say.
        pixel_size: side of a pixel in mm; None where the file does not say.
        slice_spacing: distance of two slices in mm; None where the file does not say.
        source: the file's name, for messages and metadata.
    """

    stack: Stack
    units: str
    pixel_size: float | None
    slice_spacing: float | None = None
    source: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of slices, rows and columns."""
        return self.stack.shape

    def read(self, index: int) -> Float32[np.ndarray, "rows columns"]:
        """Return one slice as float32."""
        return self.stack.read(index)
