"""A small result with one bright pixel, and what other programs read of its conversions."""

from __future__ import annotations

from pathlib import Path

import h5py
import nibabel
import numpy as np
import tifffile
import torch

import ct
from ct.result import Reconstruction

GRID = ct.ImageGrid((5, 7), pixel_size=0.5, slice_spacing=2.0)
SCAN = ct.ParallelBeam([0.0, 1.0, 2.0], n_detectors=9, detector_spacing=0.5)
FIRST = 4  # number of the first slice in the scan
BRIGHT = (2, 1, 5)  # slice, row, column of the one bright pixel
BRIGHT_XYZ = (1.0, 0.5, 2.0 * (FIRST + 2))  # right of the middle, above it
WHAT = ("mean", "std", "lower", "upper")
VOLUMES = ("nii", "nii.gz", "tif", "tiff", "npy", "h5")


def make(n_slices: int = 3, *, uncertain: bool = True, units: str = "HU") -> Reconstruction:
    """Return a stack whose values are different everywhere, with one bright pixel."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(n_slices, 5, 7, generator=generator) * 100 - 300
    if n_slices > BRIGHT[0]:
        mean[BRIGHT] = 2000.0
    return Reconstruction(
        mean=mean,
        std=mean.abs() / 10 + 1 if uncertain else None,
        samples=None,
        metadata={
            "method": "mc-dropout" if uncertain else "fbp",
            "settings": {},
            "units": units,
            "seed": 0,
            "slices": [FIRST + k for k in range(n_slices)],
            "n_samples": 8 if uncertain else None,
            "noise_std": [0.1] * n_slices,
            "calibration": "none",
            "versions": {"bayesnn": "0.1.0"},
            "diagnostics": [{}] * n_slices,
        },
        grid=GRID,
        scan=SCAN,
    )


def expected(path: Path, what: str, level: float = 0.95) -> np.ndarray:
    whole = Reconstruction.load(path)
    lower, upper = (None, None) if whole.std is None else whole.interval(level)
    found = {"mean": whole.mean, "std": whole.std, "lower": lower, "upper": upper}[what]
    assert found is not None
    return found.numpy()


def values_in(path: Path, what: str) -> np.ndarray:
    """Return [slices, rows, columns], by the reader that the format's users have."""
    if path.suffix in {".tif", ".tiff"}:
        return tifffile.imread(path)
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return file[what][()]
    return np.asarray(nibabel.load(path).dataobj).transpose(2, 1, 0)


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
