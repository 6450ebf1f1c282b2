"""The centre of rotation of a sinogram file: what `bayesnn-ct find-center` asks for."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ct.alignment.center import find_center
from ct.data.scan_input import open_scan
from ct.data.scan_options import ScanOptions

_MOST_RAYS = 2**24  # 128 MiB in float64
_MOST_SLICES = 16


def find_center_of_file(
    path: str | os.PathLike[str], options: ScanOptions | None = None
) -> dict[str, Any]:
    """Find a file's centre of rotation from up to 16 slices, spread over the whole stack.

    Args:
        path: the sinogram file.
        options: what the user says of it.

    Returns:
        Facts by name, ready for JSON: the centre, its error, the method, doubts, the slices that
        were used, and the centre that the file (or the detector's middle) gives.

    Raises:
        ValueError: the file cannot be used, or no centre be found from its scan.
    """
    source = open_scan(path, options)
    _, scan = source.geometry()
    n_slices = source.file.shape[0]
    affordable = max(1, _MOST_RAYS // (scan.n_views * scan.n_detectors))
    count = min(n_slices, _MOST_SLICES, affordable)
    # the middles of equal parts: the ends of a stack are often empty
    slices = ((np.arange(count) + 0.5) * n_slices / count).astype(int).tolist()
    measured = [source.read(index) for index in slices]
    shape = (scan.n_views, scan.n_detectors)
    noise = [np.ones(shape) if one.noise_std is None else one.noise_std for one in measured]
    found = find_center(np.stack([one.values for one in measured]), scan, noise_std=np.stack(noise))
    return {
        "file": str(path),
        "center": found.center,
        "error": found.error,
        "method": found.method,
        "notes": list(found.notes),
        "slices": slices,
        "center_before": scan.center,
    }
