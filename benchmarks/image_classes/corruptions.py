"""Test images made worse, by degrees: noise, blur, rotation, contrast."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Images = NDArray[np.float64]
Corruption = Callable[[Images, float, np.random.Generator], Images]

STRENGTHS = (0, 1, 2, 3)  # of LEVELS; 0 is the image as it is


def noise(images: Images, level: float, rng: np.random.Generator) -> Images:
    """Add white Gaussian noise of this standard deviation and cut to [0, 1]."""
    return (images + level * rng.standard_normal(images.shape)).clip(0, 1)


def blur(images: Images, level: float, rng: np.random.Generator) -> Images:  # noqa: ARG001
    """Blur by a Gaussian whose standard deviation is this part of the side."""
    return ndimage.gaussian_filter(images, level * images.shape[-1], axes=(1, 2))


def rotation(images: Images, level: float, rng: np.random.Generator) -> Images:
    """Turn by this many degrees, left or right."""
    turned = [
        ndimage.rotate(image, sign * level, reshape=False, order=1)
        for image, sign in zip(images, rng.choice((-1, 1), len(images)), strict=True)
    ]
    return np.stack(turned).clip(0, 1)


def contrast(images: Images, level: float, rng: np.random.Generator) -> Images:  # noqa: ARG001
    """Draw all pixels towards the image's mean; 1 leaves nothing else."""
    mean = images.mean((1, 2), keepdims=True)
    return mean + (1 - level) * (images - mean)


LEVELS: dict[str, tuple[Corruption, tuple[float, ...]]] = {
    "noise": (noise, (0.0, 0.15, 0.3, 0.5)),
    "blur": (blur, (0.0, 0.04, 0.08, 0.14)),
    "rotation": (rotation, (0.0, 20.0, 40.0, 60.0)),
    "contrast": (contrast, (0.0, 0.3, 0.6, 0.85)),
}


def corrupted(images: Images, kind: str, strength: int, *, seed: int) -> Images:
    """Return images made worse.

    Args:
        images: in [0, 1], [n, side, side].
        kind: key of `LEVELS`.
        strength: one of `STRENGTHS`.
        seed: of the noise and of the turns.

    Returns:
        Images in [0, 1], of the same shape.

    Raises:
        ValueError: an unknown kind or strength.
    """
    if kind not in LEVELS or strength not in STRENGTHS:
        raise ValueError(
            f"corruption: expected one of {', '.join(LEVELS)} at a strength among {STRENGTHS}, "
            f"got {kind!r} at {strength!r}."
        )
    if strength == 0:
        return images
    corruption, levels = LEVELS[kind]
    rng = np.random.default_rng((seed, list(LEVELS).index(kind), strength))
    return corruption(images, levels[strength], rng)
