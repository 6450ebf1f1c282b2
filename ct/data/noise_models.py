"""How measurements scatter: white noise, a detector's counts, and what −log makes of them."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from bayesnn.checks import check_positive


def add_gaussian_noise(
    clean: Float[Tensor, "*rays"], noise_std: float | Float[Tensor, "*#rays"], generator: Generator
) -> Float[Tensor, "*rays"]:
    """Add independent Gaussian noise: y = clean + noise_std · ε, ε ~ N(0, 1).

    Args:
        clean: noiseless line integrals.
        noise_std: standard deviation, in the units of `clean`; one number or one a ray.
        generator: of the CPU; the noise does not depend on the device of `clean`.

    Returns:
        The noisy values, on the device and of the type of `clean`.

    Example:
        >>> noisy = add_gaussian_noise(torch.zeros(10_000), 0.5, torch.Generator().manual_seed(0))
        >>> round(float(noisy.std()), 2)
        0.5
    """
    noise = torch.randn(clean.shape, dtype=clean.dtype, generator=generator)
    return clean + noise_std * noise.to(clean.device)


def draw_counts(
    line_integrals: Float[Tensor, "*rays"],
    i0: float | Float[Tensor, "*#rays"],
    generator: Generator,
    *,
    gain: float = 1.0,
    dark: float = 0.0,
    read_std: float = 0.0,
) -> Float[Tensor, "*rays"]:
    """Draw what a detector reads behind an object: N = gain · Poisson(i0 e⁻ᵖ/gain) + dark + read.

    Args:
        line_integrals: p, attenuation times length (no unit).
        i0: reading of an empty ray above the dark level.
        generator: of the CPU.
        gain: reading of one photon; 1 for a detector that counts photons.
        dark: reading without light.
        read_std: standard deviation of the Gaussian noise of each reading.

    Returns:
        The readings; whole numbers where gain is 1, dark whole and read_std 0.

    Raises:
        ValueError: `i0` or `gain` not above zero, or `read_std` negative or not finite.

    Example:
        >>> counts = draw_counts(torch.zeros(10_000), 100.0, torch.Generator().manual_seed(0))
        >>> round(float(counts.mean())), round(float(counts.var()) / 10) * 10
        (100, 100)
    """
    gain = check_positive(gain, "gain")
    if not isinstance(i0, Tensor):
        i0 = check_positive(i0, "i0")
    elif not bool((i0 > 0).all()):
        raise ValueError(f"i0: expected numbers above 0, got {float(i0.min()):g}.")
    if not (read_std >= 0 and math.isfinite(read_std)):
        raise ValueError(f"read_std: expected a finite number of at least 0, got {read_std!r}.")
    # in float64: float32 cannot hold every whole number above 16 million
    photons = (i0 / gain * (-line_integrals.double()).exp()).cpu()
    counts = gain * torch.poisson(photons, generator=generator) + dark
    if read_std > 0:
        counts = add_gaussian_noise(counts, read_std, generator)
    return counts.to(line_integrals)


def post_log_std(
    signal: Float[Tensor, "*rays"],
    *,
    gain: float = 1.0,
    read_std: float | Float[Tensor, "*#rays"] = 0.0,
) -> Float[Tensor, "*rays"]:
    """Return the standard deviation of −log(signal/i0): √(gain·S + read_std²)/S, to first order.

    With 10 photons expected it is 9 % too small, with 30 3 %, with 100 0.8 %: the logarithm bends.

    Args:
        signal: S, reading above the dark level, above zero; expected or measured.
        gain: reading of one photon.
        read_std: standard deviation of the noise of a reading without light.

    Returns:
        The standard deviation, without unit as line integrals are; infinite where S is not
        above 0.

    Example:
        >>> post_log_std(torch.tensor([100.0, 10_000.0, 0.0])).tolist()
        [0.10000000149011612, 0.009999999776482582, inf]
    """
    lit = signal > 0
    safe = torch.where(lit, signal, 1.0)
    std = (gain * safe + read_std**2).sqrt() / safe
    return torch.where(lit, std, math.inf)
