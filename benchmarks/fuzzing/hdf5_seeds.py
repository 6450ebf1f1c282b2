"""Whole HDF5 files: sinograms of ours, results of ours, Data Exchange, and files of anybody's."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

import ct
from benchmarks.fuzzing.small_scan import BINS, COUNTS, DEGREES, IMAGE, INTEGRALS, RADIANS, SLICES
from ct.data.result_file import write_result
from ct.data.sinogram_file import write_sinogram
from ct.geometry_json import geometry_to_json

GRID = ct.ImageGrid((8, 8))
SCAN = ct.ParallelBeam(RADIANS, BINS)
Fill = Callable[[h5py.File], None]


def in_memory(fill: Fill, libver: Any = None) -> bytes:
    """Return the bytes of an HDF5 file that never was on a disk."""
    content = BytesIO()
    with h5py.File(content, "w", libver=libver) as file:
        fill(file)
    return content.getvalue()


def _written(write: Callable[[Path], None]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed.h5"
        write(path)
        return path.read_bytes()


def _own_sinogram(path: Path) -> None:
    write_sinogram(
        path,
        ((one, 0.1) for one in INTEGRALS),
        grid=GRID,
        scan=SCAN,
        n_slices=SLICES,
        units="HU·mm",
        image_units="HU",
        metadata={"source": "seed", "settings": {"a": [1, 2]}},
    )


def _own_result(path: Path) -> None:
    images = torch.from_numpy(IMAGE.astype(np.float32))
    metadata = {
        "method": "jackknife",
        "settings": {"n": 3},
        "units": "1/mm",
        "seed": 0,
        "slices": [0, 1],
        "n_samples": 3,
        "noise_std": [0.1, 0.2],
        "noise_std_source": "given",
        "calibration": "none",
        "half_widths": [{"0.95": 2.0}, None],
        "held_out_coverage": [{"0.95": 0.9}, None],
        "versions": {"a": "1"},
        "diagnostics": [{}, {"steps": 3}],
    }
    samples = torch.stack([images, images + 1, images + 2], dim=1)
    result = ct.Reconstruction(
        mean=images, std=images / 10, samples=samples, metadata=metadata, grid=GRID, scan=SCAN
    )
    write_result(path, result)


def exchange(file: h5py.File) -> None:
    """Data Exchange: counts with flats, darks and angles in degrees."""
    file["exchange/data"] = COUNTS.transpose(1, 0, 2)
    file["exchange/data_white"] = np.full((3, SLICES, BINS), 5000.0) + np.arange(3)[:, None, None]
    file["exchange/data_dark"] = np.full((3, SLICES, BINS), 100.0) + np.arange(3)[:, None, None]
    file["exchange/theta"] = DEGREES
    file["exchange/theta"].attrs["units"] = "degrees"
    file["exchange/data"].attrs["axes"] = "theta:y:x"


def packed(file: h5py.File) -> None:
    """Slices in packed chunks that could grow, with our geometry."""
    chunks = (1, 6, BINS)
    file.create_dataset(
        "sinogram",
        data=INTEGRALS,
        chunks=chunks,
        compression="gzip",
        shuffle=True,
        fletcher32=True,
        maxshape=(None, 12, BINS),
    )
    file["angles"] = RADIANS
    file["noise_std"] = np.full_like(INTEGRALS, 0.1)
    file.attrs["geometry"] = geometry_to_json(GRID, SCAN)
    file.attrs["words"] = ["several", "texts"]


def lzf(file: h5py.File) -> None:
    """A matrix packed by LZF, a link to it, and angles."""
    file.create_dataset("sinogram", data=INTEGRALS[0], chunks=(4, 5), compression="lzf")
    file.create_dataset("angles", data=DEGREES, compression="gzip", maxshape=(None,))
    file["angles"].attrs["units"] = "degrees"
    file["linked"] = h5py.SoftLink("/sinogram")


def seeds() -> list[bytes]:
    """Return whole files."""
    return [
        _written(_own_sinogram),
        _written(_own_result),
        in_memory(exchange),
        in_memory(packed),
        in_memory(packed, libver="latest"),
        in_memory(lzf),
        in_memory(lzf, libver="v108"),
    ]
