"""ASTRA's projectors on our grids and scans."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ct.geometry import FanBeam, ImageGrid, Scan


def astra_geometries(grid: ImageGrid, scan: Scan) -> tuple[dict[str, Any], dict[str, Any]]:
    """ASTRA's volume and projection geometry of a grid and a scan with a flat detector."""
    import astra

    rows, columns = grid.shape
    right, top = columns * grid.pixel_size / 2, rows * grid.pixel_size / 2
    volume = astra.create_vol_geom(rows, columns, -right, right, -top, top)
    # from the detector's middle to where `center` says that the perpendicular (or s = 0) meets it
    beside = ((scan.n_detectors - 1) / 2 - scan.center) * scan.detector_spacing
    vectors = []
    for angle in scan.angles:
        u = np.array([math.cos(angle), math.sin(angle)])
        v = np.array([-math.sin(angle), math.cos(angle)])
        if isinstance(scan, FanBeam):
            start = scan.source_offset * u - scan.source_origin * v
            middle = start + scan.source_detector * v + beside * u
        else:
            start, middle = v, beside * u
        vectors.append([*start, *middle, *(scan.detector_spacing * u)])
    kind = "fanflat_vec" if isinstance(scan, FanBeam) else "parallel_vec"
    return volume, astra.create_proj_geom(kind, scan.n_detectors, np.array(vectors))


class AstraProjector:
    """Forward and back projection on the CPU; frees ASTRA's objects when closed."""

    def __init__(self, grid: ImageGrid, scan: Scan) -> None:
        import astra

        self._astra = astra
        self._volume, self._rays = astra_geometries(grid, scan)
        kind = "line_fanflat" if isinstance(scan, FanBeam) else "linear"
        self._projector = astra.create_projector(kind, self._rays, self._volume)

    def forward(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        made, sinogram = self._astra.create_sino(image, self._projector)
        self._astra.data2d.delete(made)
        return np.asarray(sinogram)

    def adjoint(self, sinogram: NDArray[np.float32]) -> NDArray[np.float32]:
        made, image = self._astra.create_backprojection(sinogram, self._projector)
        self._astra.data2d.delete(made)
        return np.asarray(image)

    def close(self) -> None:
        self._astra.projector.delete(self._projector)
