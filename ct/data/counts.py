"""From a detector's readings to line integrals, with the noise of each ray."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64

from ct.data.detector_response import DetectorResponse
from ct.data.measured import Measured
from ct.data.missing_rays import fill_missing
from ct.data.noise_models import post_log_std
from ct.noise import estimate_noise_std

_LONGEST_DEFECT = 3
_CERTAIN = 6.0
_MOSTLY = 0.5


def measure(
    readings: Float32[np.ndarray, "views detectors"],
    response: DetectorResponse,
    gain: float | None,
) -> Measured:
    """Turn readings N into line integrals p = −log(S/i0), where S = N − dark.

    The noise of each ray follows to first order from that of photons, of reading out, and of the
    averaged flats and darks:

        var p = (gain·S + r²)/S² + (gain·i0 + r²)/(n_flats·i0²) + (r²/n_darks)(1/S − 1/i0)²

    where r² is the variance of a reading without light. The second term, and most of the third, is
    one error for all views of a bin: a stripe.

    Rays were not measured where the bin is broken, where a whole view reads nothing, and where one
    to three bins read nothing between bins whose light is six standard deviations or more: their
    noise is infinite and their value is interpolated. Other readings that no light explains are
    raised: to half a photon or r, whichever is more; without a gain, to half the smallest reading
    above the dark level.

    Args:
        readings: as the detector gave them.
        response: of the slice's bins.
        gain: reading of one photon; None where it is not known, and then neither is the noise
            (unless rays are missing: then it is estimated for all others).

    Returns:
        Line integrals and their noise.

    Raises:
        ValueError: readings that are not finite outside broken bins, no reading above the dark
            level, or most of them not above it.
    """
    signal, missing, dim = _signal(readings, response)
    if gain is not None:
        missing = missing | _defects(signal, dim & ~missing, gain, response.read_variance)
    positive = float(signal[~missing & ~dim].min())
    floor = positive / 2 if gain is None else max(gain / 2, response.read_variance**0.5)
    raised = ~missing & (signal < floor)
    signal = np.where(raised, floor, np.where(missing, 1.0, signal))
    values = fill_missing(0.0 - np.log(signal / response.i0), missing)
    std = None
    if gain is not None:
        std = np.where(missing, np.inf, _std(signal, response, gain))
    elif missing.any():
        std = np.where(missing, np.inf, _white_std(values, missing))
    return Measured(
        values=values.astype(np.float32),
        noise_std=None if std is None else std.astype(np.float32),
        n_missing=int(missing.sum()),
        n_raised=int(raised.sum()),
    )


def estimate_gain(
    readings: Float32[np.ndarray, "views detectors"], response: DetectorResponse
) -> float | None:
    """Estimate the reading of one photon from how much a slice's rays scatter.

    For files whose flats cannot tell. The noise is taken for that of photons alone, whose shape is
    known, 1/S + 1/(n_flats·i0), and its size is estimated as `ct.noise.estimate_noise_std` does.

    Args:
        readings: as the detector gave them.
        response: of the slice's bins.

    Returns:
        The gain; None where there are too few rays, or no noise in them.
    """
    signal, missing, dim = _signal(readings, response)
    missing = missing | dim
    signal = np.where(missing, 1.0, signal)
    values = fill_missing(0.0 - np.log(signal / response.i0), missing)
    shape = np.sqrt(1 / signal + 1 / (response.n_flats * response.i0))
    try:
        return estimate_noise_std(values, np.where(missing, np.inf, shape)) ** 2
    except ValueError:
        return None


def _signal(
    readings: Float32[np.ndarray, "views detectors"], response: DetectorResponse
) -> tuple[
    Float64[np.ndarray, "views detectors"],
    Bool[np.ndarray, "views detectors"],
    Bool[np.ndarray, "views detectors"],
]:
    """Return readings above the dark level, which rays are missing, and which read nothing."""
    missing = np.broadcast_to(response.broken, readings.shape).copy()
    signal = np.where(missing, 0.0, readings.astype(np.float64) - response.dark)
    bad = ~np.isfinite(signal)
    if bad.any():
        view, detector = (int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"counts: expected finite numbers, found {int(bad.sum())} NaN or infinite (the first "
            f"at view {view}, detector {detector}); repair or remove them."
        )
    dim = ~missing & (signal <= 0)
    share = float(dim.sum() / max((~missing).sum(), 1))
    if share > _MOSTLY:
        largest = float(readings[~missing].max())
        dark = float(np.median(response.dark[~response.broken]))
        raise ValueError(
            f"counts: expected readings above the dark level (median {dark:g}), found "
            f"{100 * share:.0f} % at or below it (the largest reading is {largest:g}); check the "
            "darks, or say --line-integrals if these are no counts."
        )
    missing |= dim & (dim | missing).all(axis=1, keepdims=True)
    return signal, missing, dim


def _defects(
    signal: Float64[np.ndarray, "views detectors"],
    dim: Bool[np.ndarray, "views detectors"],
    gain: float,
    read_variance: float,
) -> Bool[np.ndarray, "views detectors"]:
    """Return the bins that read nothing where their neighbours see light that cannot be chance."""
    found = np.zeros_like(dim)
    for view in np.flatnonzero(dim.any(axis=1)):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], dim[view].astype(np.int8), [0]])))
        for first, last in zip(edges[::2], edges[1::2], strict=True):
            beside = [signal[view, i] for i in (first - 1, last) if 0 <= i < dim.shape[1]]
            least = max(min(beside, default=0.0), 0.0)
            bright = least > _CERTAIN * np.sqrt(gain * least + read_variance)
            found[view, first:last] = last - first <= _LONGEST_DEFECT and bright
    return found


def _std(
    signal: Float64[np.ndarray, "views detectors"], response: DetectorResponse, gain: float
) -> Float64[np.ndarray, "views detectors"]:
    read_std = response.read_variance**0.5
    photons = post_log_std(torch.from_numpy(signal), gain=gain, read_std=read_std)
    flats = post_log_std(torch.from_numpy(response.i0), gain=gain, read_std=read_std)
    dark = response.read_variance / response.n_darks * (1 / signal - 1 / response.i0) ** 2
    variance = photons.square().numpy() + flats.square().numpy() / response.n_flats + dark
    return np.asarray(np.sqrt(variance))


def _white_std(
    values: Float64[np.ndarray, "views detectors"], missing: Bool[np.ndarray, "views detectors"]
) -> float:
    try:
        return estimate_noise_std(values, np.where(missing, np.inf, 1.0))
    except ValueError as error:
        raise ValueError(f"{error} (so many rays are missing: {int(missing.sum())}.)") from error
