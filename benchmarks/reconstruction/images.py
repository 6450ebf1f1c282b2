"""Images whose scans are simulated, [slices, rows, columns], as far as they are here.

python benchmarks/reconstruction/images.py DIR    (writes DIR/dicom.npz, for other machines)
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

import ct
from ct.data.images import read_image

DICOM = "dicom.npz"


def aapm(folder: Path) -> np.ndarray:
    """Nine slices of one patient, 512², in [0, 1]."""
    with np.load(folder / "aapm_val" / "slices.npz") as file:
        return np.asarray(file["images"])


def phantoms() -> np.ndarray:
    """Four random phantoms like Shepp and Logan's, 256², averaged from 768²."""
    import torch

    fine = ct.ImageGrid((768, 768), pixel_size=1 / 3)
    large = torch.stack([ct.shepp_logan(fine, seed=seed).image(fine) for seed in range(4)])
    return large.float().reshape(4, 256, 3, 256, 3).mean((2, 4)).clamp(min=0).numpy()


def ct_small() -> np.ndarray:
    """The CT_small of pydicom, 128², water at 1."""
    from pydicom.data import get_testdata_file

    path = get_testdata_file("CT_small.dcm", download=False)
    image = np.asarray(read_image(path).read(0), dtype=np.float32)
    return ((image + 1000) / 1000).clip(min=0)[None]


def dicom(folder: Path | None) -> np.ndarray:
    """Slices of pydicom-data (a head, an abdomen), 512², water at 1; none where it is absent.

    Args:
        folder: holds dicom.npz, where the package is not installed; None looks for the package.
    """
    if folder is not None and (folder / DICOM).is_file():
        with np.load(folder / DICOM) as file:
            return np.asarray(file["images"])
    try:
        import data_store
        import pydicom
    except ImportError:
        return np.empty((0, 512, 512), dtype=np.float32)
    images = []
    for name in ("693_UNCR.dcm", "explicit_VR-UN.dcm"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = pydicom.dcmread(Path(data_store.__file__).parent / "data" / name)
            image = data.pixel_array.astype(np.float32)
        hounsfield = image * float(data.RescaleSlope) + float(data.RescaleIntercept)
        images.append((hounsfield / 1000 + 1).clip(min=0))
    return np.stack(images)


def averaged(images: np.ndarray, side: int) -> np.ndarray:
    """Return square images averaged to `side`², which divides theirs; larger ones stay."""
    n, length, _ = images.shape
    if side >= length:
        return images
    return images.reshape(n, side, length // side, side, length // side).mean((2, 4))


if __name__ == "__main__":
    np.savez_compressed(Path(sys.argv[1]) / DICOM, images=dicom(None))
