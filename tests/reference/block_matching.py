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


def clean(image, matched, side, gain, window, levels, pilot=None):
    """Transform each group, multiply by gains, transform back, average with weights.

    `levels` gives the variances of a patch's coefficients by its upper left pixel.
    """
    above, below = np.zeros_like(image), np.zeros_like(image)
    basis = haar(len(matched[0]))

    def spectrum(source, group):
        patches = [dctn(source[a : a + side, b : b + side], norm="ortho") for a, b in group]
        return np.tensordot(basis, np.stack(patches), axes=1)

    usual = np.mean(list(levels.values())) or 1.0
    for group in matched:
        noisy = spectrum(image, group)
        variances = np.zeros_like(noisy)
        for row in range(len(group)):
            for member, place in enumerate(group):
                variances[row] += basis[row, member] ** 2 * levels[place]
        gains = gain(noisy, noisy if pilot is None else spectrum(pilot, group), variances)
        left = max((gains**2 * variances).sum(), 0.1 * variances.mean()) / usual
        weight = 1 / left if left else 1.0
        for (a, b), patch in zip(group, np.tensordot(basis.T, gains * noisy, axes=1), strict=True):
            here = (slice(a, a + side), slice(b, b + side))
            above[here] += weight * window * idctn(patch, norm="ortho")
            below[here] += weight * window
    return above / below


def threshold(deviations):
    """Gain 1 of what exceeds the noise, else 0; the mean stays."""

    def gain(noisy, _, variances):
        kept = np.abs(noisy) > deviations * np.sqrt(variances)
        kept[0, 0, 0] = True
        return kept.astype(float)

    return gain


def wiener(_, pilot, variances):
    """Wiener gain of the pilot's power."""
    return pilot**2 / (pilot**2 + variances)


def local_variances(drawn: np.ndarray, side: int, shared: float) -> dict[tuple, np.ndarray]:
    """Squared coefficients of drawn noise, averaged over cells of patches, then by a Gaussian."""
    places = [n - side + 1 for n in drawn.shape[1:]]
    power = {
        (a, b): np.mean(
            [dctn(one[a : a + side, b : b + side], norm="ortho") ** 2 for one in drawn], axis=0
        )
        for a in range(places[0])
        for b in range(places[1])
    }
    everywhere = np.mean(list(power.values()), axis=0)
    found = {}
    for a, b in power:
        above, below = 0.0, 0.0
        for c, d in power:
            rows, columns = c // side - a // side, d // side - b // side
            if max(abs(rows), abs(columns)) <= 3:
                weight = np.exp(-0.5 * (rows**2 + columns**2))
                above, below = above + weight * power[c, d], below + weight
        found[a, b] = (1 - shared) * above / below + shared * everywhere
    return found
