"""What each detector bin reads without an object and without light, and which bins are broken."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float64

_FEWEST_FREEDOM = 100
"""Degrees of freedom behind a gain: 100 give it to 20 %."""
_OUTLYING = 6.0
_NO_RESPONSE = 5.0
_ERRATIC = 10.0
_NORMAL_MAD = 0.6744898


@dataclass(frozen=True, kw_only=True, eq=False)
class DetectorResponse:
    """One slice's detector bins; all readings in the file's own units.

    Attributes:
        dark: mean reading without light.
        i0: mean reading of an empty ray above `dark`, of all views or of each; 1 where the bin is
            broken.
        n_flats: readings behind each `i0`; infinity where it was given.
        n_darks: readings behind `dark`; infinity where there is none.
        read_variance: variance of one reading without light, pooled over the bins.
        gain: reading of one photon; None where the flats cannot tell.
        broken: bins that do not measure.
        faults: how many bins have each fault, by its name.
    """

    dark: Float64[np.ndarray, " detectors"]
    i0: Float64[np.ndarray, "*views detectors"]
    n_flats: Float64[np.ndarray, "*views detectors"]
    n_darks: float
    read_variance: float
    gain: float | None
    broken: Bool[np.ndarray, " detectors"]
    faults: dict[str, int]


def response_from_i0(
    i0: float, n_detectors: int, darks: Float[np.ndarray, "readings detectors"] | None
) -> DetectorResponse:
    """Return the response of a detector whose bins all read `i0` in an empty ray.

    Args:
        i0: the reading, dark level included.
        n_detectors: how many bins.
        darks: readings without light, if any.

    Returns:
        The response, without a gain.

    Raises:
        ValueError: `i0` is not above the dark level anywhere.
    """
    dark, read_variance = _dark_level(darks, n_detectors)
    hot = ~(dark < i0)
    if hot.all():
        raise ValueError(
            f"darks: expected readings below --i0 ({i0:g}), found at least {np.min(dark):g}; --i0 "
            "is the reading of an empty ray as the file has it, dark level included."
        )
    return DetectorResponse(
        dark=np.where(hot, 0.0, dark),
        i0=np.where(hot, 1.0, i0 - dark),
        n_flats=np.full(n_detectors, np.inf),
        n_darks=np.inf if darks is None else len(darks),
        read_variance=read_variance,
        gain=None,
        broken=hot,
        faults=_counted({"hot": hot}),
    )


def response_from_flats(
    flats: Float[np.ndarray, "readings detectors"],
    darks: Float[np.ndarray, "other_readings detectors"] | None,
) -> DetectorResponse:
    """Return the response that flats and darks show.

    The flats' common brightness is made equal, then readings farther than six standard deviations
    from their bin's median (cosmic rays) are left out, and the others averaged. The gain comes
    from the flats' own scatter (photon transfer): gain = (Var(flat) − Var(dark))/i0 over repeated
    readings, its median over the bins.

    A bin is broken where a reading is not finite; where it does not respond (its flat is no five
    standard deviations above its dark); where it is hot (its dark is above half its flat and far
    above the other bins'); where it is stuck (all readings of its flat are the same number, while
    those of the others are not), as saturated bins are; or erratic (five flats or more, of ten
    times the variance that its brightness explains).

    Args:
        flats: readings without an object.
        darks: readings without light, if any.

    Returns:
        The response.

    Raises:
        ValueError: no bin responds.

    Source:
        J. R. Janesick, Photon Transfer, SPIE Press, 2007.
    """
    n_flats, n_detectors = flats.shape
    flats = np.where(np.isfinite(flats), flats, np.nan)
    dark, read_variance = _dark_level(darks, n_detectors)
    signal = flats.astype(np.float64) - dark
    bad = ~np.isfinite(signal).all(axis=0)
    signal[:, bad] = 0.0
    signal = _evened(signal)
    kept = _without_outliers(signal, lit=True)
    n_kept = kept.sum(axis=0)
    i0 = np.where(kept, signal, 0.0).sum(axis=0) / n_kept
    freedom = n_flats - 1
    variance = np.where(kept, (signal - i0) ** 2, 0.0).sum(axis=0) / max(freedom, 1)
    silent = ~bad & (i0 <= _NO_RESPONSE * np.sqrt((variance + read_variance) / n_kept))
    lit = ~bad & ~silent
    hot = lit & _is_hot(dark, i0)
    stuck = lit & ~hot & _is_stuck(flats)
    erratic, gain = np.zeros_like(bad), None
    good = lit & ~hot & ~stuck
    if freedom and good.any():
        per_unit = variance[good] / i0[good] / _chi_square_median(freedom)
        slope = float(np.median(per_unit))
        if freedom >= 4:
            erratic = good & (variance > _ERRATIC * slope * i0 + read_variance)
        gain = slope - read_variance * float(np.median(1 / i0[good]))
        enough = freedom * int(good.sum()) >= _FEWEST_FREEDOM
        gain = gain if enough and gain > 0.05 * slope else None
    broken = ~good | erratic
    if broken.all():
        largest = float(np.max(flats, where=np.isfinite(flats), initial=0.0))
        raise ValueError(
            f"flats: expected readings above the dark level, found none in any of {n_detectors} "
            f"bins (flats up to {largest:g}, dark level up to {float(dark.max()):g}); check that "
            "flats and darks are neither empty nor exchanged."
        )
    faults = {
        "not finite": bad, "no response": silent, "hot": hot, "stuck": stuck, "erratic": erratic,
    }  # fmt: skip
    return DetectorResponse(
        dark=np.where(broken, 0.0, dark),
        i0=np.where(broken, 1.0, i0),
        n_flats=n_kept.astype(np.float64),
        n_darks=np.inf if darks is None else len(darks),
        read_variance=read_variance,
        gain=gain,
        broken=broken,
        faults=_counted(faults),
    )


def interpolated(
    before: DetectorResponse, after: DetectorResponse, n_views: int
) -> DetectorResponse:
    """Return the response that goes evenly from one before the scan to one after it.

    Args:
        before: of the first view.
        after: of the last view.
        n_views: how many views there are, taken at even distances in time.

    Returns:
        A response with an i0 of each view; a bin is broken where it is in either.
    """
    share = np.linspace(0, 1, n_views)[:, None]
    broken = before.broken | after.broken
    gains = [one.gain for one in (before, after) if one.gain is not None]
    faults = {
        name: max(before.faults.get(name, 0), after.faults.get(name, 0))
        for name in {**before.faults, **after.faults}
    }
    i0 = (1 - share) * before.i0 + share * after.i0
    return replace(
        before,
        dark=np.where(broken, 0.0, before.dark),
        i0=np.where(broken, 1.0, i0),
        # the variance of a weighted mean
        n_flats=1 / ((1 - share) ** 2 / before.n_flats + share**2 / after.n_flats),
        gain=float(np.mean(gains)) if gains else None,
        broken=broken,
        faults=faults,
    )


def _dark_level(
    darks: Float[np.ndarray, "readings detectors"] | None, n_detectors: int
) -> tuple[Float64[np.ndarray, " detectors"], float]:
    """Return each bin's mean dark reading, infinite where one is not finite, and the variance."""
    if darks is None:
        return np.zeros(n_detectors), 0.0
    readings = darks.astype(np.float64)
    finite = np.isfinite(readings).all(axis=0)
    if not finite.any():
        raise ValueError("darks: expected finite readings, found none; check the file.")
    usable = readings[:, finite]
    kept = _without_outliers(usable, lit=False)
    mean = np.where(kept, usable, 0.0).sum(axis=0) / kept.sum(axis=0)
    dark = np.full(n_detectors, np.inf)
    dark[finite] = mean
    freedom = len(darks) - 1
    if not freedom:
        return dark, 0.0
    variance = np.where(kept, (usable - mean) ** 2, 0.0).sum(axis=0) / freedom
    return dark, float(np.median(variance)) / _chi_square_median(freedom)


def _evened(
    signal: Float64[np.ndarray, "readings detectors"],
) -> Float64[np.ndarray, "readings detectors"]:
    """Return flats of one brightness: the source's changes are not the detector's noise."""
    usual = np.median(signal, axis=0)
    lit = usual > 0
    if not lit.any():
        return signal
    # against each bin's own median: the beam's profile would scatter a median over bins
    level = np.median(signal[:, lit] / usual[lit], axis=1, keepdims=True)
    return np.asarray(signal / (level / level.mean())) if (level > 0).all() else signal


def _without_outliers(
    readings: Float64[np.ndarray, "readings detectors"], *, lit: bool
) -> Bool[np.ndarray, "readings detectors"]:
    """Return which readings count: those near their bin's median, if there are three or more."""
    if len(readings) < 3:
        return np.ones(readings.shape, dtype=bool)
    middle = np.median(readings, axis=0)
    # noise grows as the root of the brightness
    unit = np.sqrt(np.maximum(middle, 1e-12)) if lit else np.ones_like(middle)
    scatter = np.median(readings.var(axis=0, ddof=1) / unit**2)
    scatter /= _chi_square_median(len(readings) - 1)
    near = np.abs(readings - middle) <= _OUTLYING * np.sqrt(scatter) * unit + 1e-12
    # a bin that scatters so much that less than half its readings are near is no matter of outliers
    return np.asarray(near | (2 * near.sum(axis=0) < len(readings)))


def _is_hot(
    dark: Float64[np.ndarray, " detectors"], i0: Float64[np.ndarray, " detectors"]
) -> Bool[np.ndarray, " detectors"]:
    usual = np.median(dark)
    spread = np.median(np.abs(dark - usual)) / _NORMAL_MAD
    return np.asarray((dark > i0) & (dark > usual + 10 * spread))


def _is_stuck(flats: Float[np.ndarray, "readings detectors"]) -> Bool[np.ndarray, " detectors"]:
    # whole numbers of little noise may be equal by chance; squares of float32 may be too large
    spread = np.nan_to_num(flats.std(axis=0, dtype=np.float64))
    scatters = len(flats) >= 3 and float(np.median(spread)) >= 2
    same = (flats == flats[:1]).all(axis=0)
    return same if scatters else np.zeros_like(same)


def _chi_square_median(freedom: int) -> float:
    """Return the median of χ²/freedom: what the median of variances is to their mean."""
    from scipy.stats import chi2

    return float(chi2.median(freedom)) / freedom


def _counted(faults: dict[str, Bool[np.ndarray, " detectors"]]) -> dict[str, int]:
    return {name: int(bins.sum()) for name, bins in faults.items() if bins.any()}
