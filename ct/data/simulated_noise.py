"""How a simulated scan is disturbed: noise of a known size, a detector's counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float32
from torch import Generator, Tensor

from bayesnn.checks import check_positive
from ct.data.noise_models import add_gaussian_noise, draw_counts, post_log_std

_MOST_PHOTONS = 1e15  # far beyond it, 64 bits no longer count them

Noisy: TypeAlias = tuple[
    Float32[np.ndarray, "views detectors"],
    float | Float32[np.ndarray, "views detectors"] | None,
]
"""Line integrals with the standard deviation of their noise (one number, or one a ray), or counts
with None: their noise follows from them."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """What happens to line integrals when they are measured.

    Attributes:
        values: what comes out: "line integrals" or "counts".
        settings: what it was, for a file's metadata.
        disturb: from noiseless line integrals and a generator of the CPU to a measurement.
    """

    values: str
    settings: Mapping[str, float | str]
    disturb: Callable[[Tensor, Generator], Noisy]


def white_noise(snr_db: float) -> Noise:
    """Return y = p + ε with σ² = mean(p²)·10^(−snr/10), the same for all rays.

    Args:
        snr_db: signal-to-noise ratio in dB; infinity for no noise.

    Returns:
        The noise.

    Raises:
        ValueError: `snr_db` is NaN or minus infinity.
    """
    if math.isnan(snr_db) or snr_db == -math.inf:
        raise ValueError(f"snr_db: expected a number of dB, got {snr_db}.")

    def disturb(clean: Float32[Tensor, "views detectors"], generator: Generator) -> Noisy:
        power = float(clean.double().square().mean())
        noise_std = math.sqrt(power * 10 ** (-snr_db / 10))
        return add_gaussian_noise(clean, noise_std, generator).numpy(), noise_std

    return Noise(values="line integrals", settings={"snr_db": snr_db}, disturb=disturb)


def photons(i0: float) -> Noise:
    """Return N ~ Poisson(i0 e⁻ᵖ): the counts of a detector that counts single photons.

    Args:
        i0: mean count of an empty ray.

    Returns:
        The noise.

    Raises:
        ValueError: `i0` is not above zero, or beyond what can be counted.
    """
    i0 = check_positive(i0, "i0")
    if i0 > _MOST_PHOTONS:
        raise ValueError(
            f"photons: expected at most {_MOST_PHOTONS:g} in an empty ray, got {i0:g}; give fewer, "
            "or --snr-db inf for no noise."
        )

    def disturb(clean: Float32[Tensor, "views detectors"], generator: Generator) -> Noisy:
        return draw_counts(clean, i0, generator).numpy(), None

    return Noise(values="counts", settings={"i0": i0, "gain": 1.0}, disturb=disturb)


def photons_after_log(i0: float) -> Noise:
    """Return y = p + ε with σ² = e^p/i0, each ray its own: what −log makes of many photons.

    Args:
        i0: mean count of an empty ray.

    Returns:
        The noise.

    Raises:
        ValueError: `i0` is not above zero.
    """
    i0 = check_positive(i0, "i0")

    def disturb(clean: Float32[Tensor, "views detectors"], generator: Generator) -> Noisy:
        noise_std = post_log_std(i0 * torch.exp(-clean))
        return add_gaussian_noise(clean, noise_std, generator).numpy(), noise_std.numpy()

    return Noise(values="line integrals", settings={"photons": i0}, disturb=disturb)
