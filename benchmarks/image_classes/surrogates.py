"""Outliers made of images at hand: what settings and uncertainties are chosen by.

No image of letters, clothes or of the corruptions that are tested has a part in any choice.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float64]


def surrogates(images: Images, labels: NDArray[np.int64], *, seed: int) -> dict[str, Images]:
    """Return three kinds of images that show no digit, or no single one.

    Args:
        images: in [0, 1], [n, side, side], of an even side and of two classes at least.
        labels: their classes, [n].
        seed: of all draws.

    Returns:
        By name, n images each: quarters in another order, two classes laid over one another, and
        the amplitudes of an image with the phases of noise.
    """
    rng = np.random.default_rng((seed, 1))
    others = np.array([rng.choice(np.flatnonzero(labels != label)) for label in labels])
    return {
        "quarters": np.stack([_rearranged(image, rng) for image in images]),
        "overlaid": np.maximum(images, images[others]),
        "scrambled": _scrambled(images, rng),
    }


def _rearranged(image: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    half = image.shape[-1] // 2
    quarters = image.reshape(2, half, 2, half).swapaxes(1, 2).reshape(4, half, half)
    order = np.arange(4)
    while (order == np.arange(4)).all():
        order = rng.permutation(4)
    mixed = quarters[order].reshape(2, 2, half, half)
    return mixed.swapaxes(1, 2).reshape(2 * half, 2 * half)


def _scrambled(images: Images, rng: np.random.Generator) -> Images:
    phases = np.angle(np.fft.rfft2(rng.standard_normal(images.shape)))
    amplitudes = np.abs(np.fft.rfft2(images))
    turned = np.fft.irfft2(amplitudes * np.exp(1j * phases), s=images.shape[1:])
    return turned.clip(0, 1)
