"""What a sinogram file says of itself, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from ct.data.stack import Stack
from ct.geometry import ImageGrid, Scan


@dataclass(frozen=True, kw_only=True, eq=False)
class SinogramFile:
    """A sinogram file; the values stay on disk until `read`.

    Attributes:
        stack: the slices, [views, detectors] each.
        angles: one a view, in radians; None where the file holds none.
        geometry: grid and scan; None where the file holds none.
        values: "line integrals" or "counts"; "" where the file does not say.
        units: units of the values, such as "HU·mm"; "" where unknown.
        image_units: units of an image made from them, such as "HU"; "" where unknown.
        noise_std: each slice's noise, in `units`, where it is known because it was simulated.
        ray_noise: standard deviation of each ray's noise, in `units`, where the file holds it.
        flats: readings without an object, [slices, readings, detectors]; None without any.
        flats_after: the same from after the scan; then `flats` are from before it.
        darks: readings without light, likewise.
        notes: what the file leaves in doubt, in words.
        metadata: whatever else the file says: source, seed, versions.
    """

    stack: Stack
    angles: tuple[float, ...] | None = None
    geometry: tuple[ImageGrid, Scan] | None = None
    values: str = ""
    units: str = ""
    image_units: str = ""
    noise_std: tuple[float, ...] | None = None
    ray_noise: Stack | None = None
    flats: Stack | None = None
    flats_after: Stack | None = None
    darks: Stack | None = None
    notes: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The file, or the folder of slices."""
        return self.stack.path

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of slices, views and detectors."""
        return self.stack.shape

    def read(self, index: int) -> Float32[np.ndarray, "views detectors"]:
        """Return one slice.

        Raises:
            ValueError: the values are damaged on disk.
        """
        return self.stack.read(index)
