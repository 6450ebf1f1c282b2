"""BM3D written as its definition reads: loops over patches, groups and pixels."""

import numpy as np
from scipy.fft import dctn, idctn


def haar(n: int) -> np.ndarray:
    """Orthonormal Haar basis, the constant first, by averaging and differencing pairs."""
    if n == 1:
        return np.ones((1, 1))
    half = haar(n // 2)
    basis = np.zeros((n, n))
    for row in range(n // 2):
        basis[row] = np.repeat(half[row], 2) / np.sqrt(2)
        basis[n // 2 + row, 2 * row : 2 * row + 2] = np.array([1, -1]) / np.sqrt(2)
    return basis


def references(n_places: int, stride: int) -> list[int]:
    """Every stride-th place, and the last."""
    return sorted({*range(0, n_places, stride), n_places - 1})


def groups(image: np.ndarray, side: int, stride: int, reach: int, size: int) -> list[list[tuple]]:
    """Of each reference, the upper left pixels of its nearest patches, itself first."""
    places = [n - side + 1 for n in image.shape]
    found = []
    for i in references(places[0], stride):
        for j in references(places[1], stride):
            near = [
                (((image[a : a + side, b : b + side] - image[i : i + side, j : j + side]) ** 2)
                 .sum() if (a, b) != (i, j) else -1.0, (a, b))
                for a in range(max(0, i - reach), min(places[0], i + reach + 1))
                for b in range(max(0, j - reach), min(places[1], j + reach + 1))
            ]  # fmt: skip
            found.append([place for _, place in sorted(near)[:size]])
    return found


def clean(image, matched, side, shrink, window, pilot=None):
    """Transform each group, shrink, transform back, average with weights."""
    above, below = np.zeros_like(image), np.zeros_like(image)
    basis = haar(len(matched[0]))

    def spectrum(source, group):
        patches = [dctn(source[a : a + side, b : b + side], norm="ortho") for a, b in group]
        return np.tensordot(basis, np.stack(patches), axes=1)

    for group in matched:
        noisy = spectrum(image, group)
        shrunk, weight = shrink(noisy, noisy if pilot is None else spectrum(pilot, group))
        for (a, b), patch in zip(group, np.tensordot(basis.T, shrunk, axes=1), strict=True):
            here = (slice(a, a + side), slice(b, b + side))
            above[here] += weight * window * idctn(patch, norm="ortho")
            below[here] += weight * window
    return above / below


def threshold(level):
    """Hard threshold; the mean stays; weight one over the number that stay."""

    def shrink(noisy, _):
        kept = np.abs(noisy) > level
        kept[0, 0, 0] = True
        return noisy * kept, 1 / kept.sum()

    return shrink


def wiener(std):
    """Wiener gain of the pilot's power; weight one over its squared norm, 10 at most."""

    def shrink(noisy, pilot):
        gain = pilot**2 / (pilot**2 + std**2)
        return noisy * gain, 1 / max((gain**2).sum(), 0.1)

    return shrink
