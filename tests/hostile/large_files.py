"""Honest files of 32 MiB, each of one format, and readers of them in a process of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from scipy.io import savemat

from ct.data.images import read_image
from ct.data.scan_input import open_scan
from ct.data.scan_options import ScanOptions
from tests.faults.peak_memory import Say, peak_of

SIDE = 2896  # squared, in float32: 32 MiB
OPTIONS = {
    ".mat": ScanOptions(
        dataset="sinogram", angles=f"0:180:{SIDE}", degrees=True, values="line integrals"
    )
}


def write_npy(path: Path) -> None:
    """Write an array of NumPy."""
    np.save(path.with_suffix(".npy"), _numbers())
    path.with_suffix(".npy").rename(path)


def write_tiff(path: Path) -> None:
    """Write one page."""
    tifffile.imwrite(path, _numbers())


def write_matlab5(path: Path) -> None:
    """Write a sinogram with a name of its own."""
    savemat(path, {"sinogram": _numbers()}, appendmat=False)


def write_hdf5(path: Path) -> None:
    """Write a scan of counts in the Data Exchange layout."""
    counts = np.random.default_rng(0).integers(500, 4000, (32, 512, 1024)).astype(np.uint16)
    with h5py.File(path, "w") as file:
        file["exchange/data"] = counts.transpose(1, 0, 2)
        file["exchange/data_white"] = np.full((2, 32, 1024), 4000, np.uint16)
        file["exchange/data_dark"] = np.zeros((2, 32, 1024), np.uint16)
        file["exchange/theta"] = np.linspace(0, 180, 512, endpoint=False)


def write_dicom(path: Path) -> None:
    """Write an image of 16 bits."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = Dataset()
    image.file_meta = meta
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    image.Modality = "CT"
    image.Rows = image.Columns = 4096
    image.PixelSpacing = [0.5, 0.5]
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit, image.PixelRepresentation = 15, 0
    image.RescaleSlope, image.RescaleIntercept, image.RescaleType = 1, -1024, "HU"
    image.PixelData = np.random.default_rng(0).integers(0, 3000, 4096**2, np.uint16).tobytes()
    image.save_as(path, enforce_file_format=True)


LARGE: dict[str, Callable[[Path], None]] = {
    "npy": write_npy, "tif": write_tiff, "mat": write_matlab5, "h5": write_hdf5, "dcm": write_dicom,
}  # fmt: skip


def peak_of_reading(say: Say, small: Path, large: Path) -> None:
    """Say by how many bytes the process grew at most; it has read a small file before."""
    _read(small)
    say(peak_of(lambda: _read(large)))


def _read(path: Path) -> None:
    if path.suffix in {".h5", ".mat"}:
        scan = open_scan(path, OPTIONS.get(path.suffix))
        for number in range(scan.file.shape[0]):
            scan.read(number)
    else:
        read_image(path)


def _numbers() -> NDArray[Any]:
    return np.random.default_rng(0).uniform(0.1, 2, (SIDE, SIDE)).astype(np.float32)
