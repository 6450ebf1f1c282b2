"""Attenuation in 1/mm and Hounsfield units, converted on request alone."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

from bayesnn.checks import check_positive

Image = TypeVar("Image", float, Float[np.ndarray, "*shape"], Float[Tensor, "*shape"])

_KEV = (10, 15, 20, 30, 40, 50, 60, 80, 100, 150, 200, 300, 400, 500)
_CM2_PER_G = (
    5.329, 1.673, 0.8096, 0.3756, 0.2683, 0.2269, 0.2059, 0.1837, 0.1707, 0.1505, 0.1370, 0.1186,
    0.1061, 0.09687,
)  # fmt: skip


def to_hounsfield(mu: Image, mu_water: float) -> Image:
    """Convert attenuation to Hounsfield units: HU = 1000 (µ − µ_water)/µ_water.

    Args:
        mu: attenuation in 1/mm; a number, array or tensor.
        mu_water: attenuation of water in 1/mm, as this scan measures it (see `water_attenuation`).

    Returns:
        Hounsfield units: −1000 for vacuum, 0 for water.

    Raises:
        ValueError: `mu_water` is not above 0.

    Example:
        >>> to_hounsfield(0.03, mu_water=0.02)
        500.0
    """
    scale = hounsfield_scale(mu_water)
    return mu * scale - 1000.0


def from_hounsfield(hu: Image, mu_water: float) -> Image:
    """Convert Hounsfield units to attenuation: µ = µ_water (1 + HU/1000).

    Args:
        hu: Hounsfield units; a number, array or tensor.
        mu_water: attenuation of water in 1/mm.

    Returns:
        Attenuation in 1/mm.

    Raises:
        ValueError: `mu_water` is not above 0.

    Example:
        >>> from_hounsfield(-1000.0, mu_water=0.02)
        0.0
    """
    return (hu + 1000.0) / hounsfield_scale(mu_water)


def hounsfield_scale(mu_water: float) -> float:
    """Return the Hounsfield units of one 1/mm: 1000/µ_water.

    What has no zero point, such as a standard deviation or a difference of two images, is converted
    by this factor alone: `to_hounsfield` would shift it by −1000.

    Args:
        mu_water: attenuation of water in 1/mm.

    Returns:
        The factor.

    Raises:
        ValueError: `mu_water` is not above 0.

    Example:
        >>> 0.001 * hounsfield_scale(0.02)
        50.0
    """
    return 1000.0 / check_positive(mu_water, "mu_water")


def water_attenuation(energy_kev: float) -> float:
    """Return the attenuation of liquid water (1 g/cm³) for X-rays of one energy.

    Between the table's energies the logarithms are interpolated by a cubic spline, to within 0.3 %.
    The beam of an X-ray tube has no one energy, and scattering and hardening add to that: the
    attenuation that a scanner measures in a water phantom is better than any table.

    Args:
        energy_kev: of the photons, 10 to 500 keV.

    Returns:
        µ in 1/mm.

    Raises:
        ValueError: another energy.

    Source:
        J. H. Hubbell, S. M. Seltzer, Tables of X-Ray Mass Attenuation Coefficients, NIST Standard
        Reference Database 126, 2004: water, liquid; coherent scattering included.

    Example:
        >>> round(water_attenuation(70.0), 5)
        0.01929
    """
    energy = check_positive(energy_kev, "energy_kev")
    if not _KEV[0] <= energy <= _KEV[-1]:
        raise ValueError(
            f"energy_kev: expected {_KEV[0]} to {_KEV[-1]} keV, got {energy:g}; give mu_water in "
            "1/mm instead."
        )
    from scipy.interpolate import CubicSpline

    log_mu = CubicSpline(np.log(_KEV), np.log(_CM2_PER_G))(np.log(energy))
    return float(np.exp(log_mu)) / 10  # 1/cm to 1/mm
