"""Amplitude, length scale and noise of the prior, chosen by the likelihood of a scan's spectrum."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from ct.posterior.infinite_width_scan import bin_width, ray_precision
from ct.problem import Problem

RadialCovariance = Callable[[Float64[Tensor, "*points"]], Float64[Tensor, "*points"]]
"""From |x − x'|·Ω₀ to the correlation of the image there."""

Spectrum = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From ω in units of Ω₀ to S of Ω₀ = 1."""

_STEP = 0.02  # of the covariance's table, in units of 1/Ω₀
_REACH = 7.0  # exp(−7²/2) is 2e-11
_TRANSFORM = 2**13
_STARTS = 12  # length scales to start from
_DESCENTS = 3  # of these starts, the best
_FARTHEST = 10.0  # that the logarithm of the spread may go from its start
_LARGEST_NOISE = math.log(100.0)


@dataclass(frozen=True, kw_only=True)
class PriorScales:
    """What the likelihood chose.

    Attributes:
        prior_std: s, the prior's standard deviation of a pixel around the mean level.
        frequency_std: Ω₀, in radians per half the image's longer side.
        noise_factor: by which the noise's standard deviation is multiplied.
        log_likelihood: of the spectrum, up to a constant.
    """

    prior_std: float
    frequency_std: float
    noise_factor: float
    log_likelihood: float


@dataclass(frozen=True, kw_only=True)
class ScanSpectrum:
    """The mean power of a scan's views at each frequency along the detector.

    A view's Fourier coefficients are independent with variance

        s² S(|ω|; Ω₀) · (mean length of a ray)/bin + σ²,

    S being the spectrum of the image's correlation: the Whittle likelihood of one view. Views are
    taken as independent but at low frequencies, where n of them share what π · length · |ω|
    coefficients tell: there each counts that much less. It needs one FFT of the scan, and is no
    exact marginal likelihood: on images of 16² that the prior drew, it loses 10 nats of 600 rays
    against the true scales; Ω₀ comes within 12 %, s 15 % too small, and the noise's factor up to
    45 % too large, as the edges of so coarse a grid look like noise.

    All is in units of the noise and of half the image's longer side, so that no number here
    depends on the units of values and lengths.

    Attributes:
        power: mean over the views of |FFT|²/(bins · σ²).
        gain: (mean length of a ray)/bin.
        angular: ω.
        weight: number of independent coefficients.
        unit_std: the image's standard deviation that is 1 in these units.

    Source:
        P. Whittle, The analysis of multiple stationary time series, JRSS B 15, 1953.
    """

    power: Float64[Tensor, " frequencies"]
    gain: float
    angular: Float64[Tensor, " frequencies"]
    weight: Float64[Tensor, " frequencies"]
    unit_std: float

    def log_likelihood(
        self,
        spectrum: Spectrum,
        *,
        prior_std: float,
        frequency_std: float,
        noise_factor: float,
    ) -> float:
        """Return −½ Σ weight · (power/variance + log variance).

        Args:
            spectrum: S of Ω₀ = 1, from `unit_spectrum`.
            prior_std: s, in units of `unit_std`.
            frequency_std: Ω₀.
            noise_factor: of the noise's standard deviation.
        """
        shape = torch.from_numpy(spectrum(self.angular.numpy() / frequency_std))
        variance = (prior_std / frequency_std) ** 2 * self.gain * shape + noise_factor**2
        terms = self.power / variance + variance.log()
        return -0.5 * float((self.weight * terms).sum())


def scan_spectrum(problem: Problem) -> ScanSpectrum:
    """Return the spectrum of a scan around its mean level.

    Args:
        problem: what was measured; rays that were not are taken at their guess.

    Returns:
        The spectrum.

    Raises:
        ValueError: no measured ray meets the image.
    """
    grid, scan = problem.grid, problem.scan
    ray_precision(problem)  # a scan that misses the image has no spectrum, and is told so
    sinogram = problem.sinogram.double().cpu()
    lengths = problem.projector(problem.sinogram.new_ones(grid.shape)).double().cpu()
    level = (lengths * sinogram).sum() / lengths.square().sum().clamp(min=1e-300)
    views = sinogram - level * lengths
    n = scan.n_detectors
    power = torch.fft.rfft(views).abs().square().mean(0)[1:] / n
    spacing = bin_width(scan)
    frequency = torch.fft.rfftfreq(n, spacing, dtype=torch.float64)[1:]
    seen = lengths > 0
    length = float(lengths[seen].mean()) if bool(seen.any()) else 1.0
    independent = (math.pi * length * frequency).clamp(max=scan.n_views)
    both_parts = torch.full_like(frequency, 2.0)
    if n % 2 == 0:
        both_parts[-1] = 1.0
    measured = problem.noise_std[problem.noise_std.isfinite()].double().cpu()
    noise = measured.square().mean()
    half_side = max(grid.shape) * grid.pixel_size / 2
    return ScanSpectrum(
        power=power / noise,
        gain=float(lengths.mean()) / spacing,
        angular=2 * math.pi * half_side * frequency,
        weight=independent * both_parts,
        unit_std=float(noise.sqrt()) / half_side,
    )


def unit_spectrum(covariance: RadialCovariance) -> Spectrum:
    """Return S(ω) = ∫ c(|x|) exp(−iω·x) dx in the plane, for Ω₀ = 1.

    By the projection-slice theorem it is the transform of c's integrals along lines.

    Args:
        covariance: c.
    """
    offsets = _STEP * torch.arange(round(_REACH / _STEP) + 1, dtype=torch.float64)
    weights = torch.full_like(offsets, 2 * _STEP)
    weights[0] = _STEP  # each line is even around its foot, as the integrals are around the origin
    along_lines = covariance(torch.hypot(offsets[:, None], offsets)) @ weights
    even = torch.zeros(_TRANSFORM, dtype=torch.float64)
    even[: len(offsets)] = along_lines
    even[-len(offsets) + 1 :] = along_lines[1:].flip(0)
    values = (_STEP * torch.fft.rfft(even).real).clamp(min=1e-12 * float(along_lines.sum()))
    omega = 2 * math.pi * torch.fft.rfftfreq(_TRANSFORM, _STEP, dtype=torch.float64)
    known, log_values = omega.numpy(), values.log().numpy()

    def spectrum(at: NDArray[np.float64]) -> NDArray[np.float64]:
        values: NDArray[np.float64] = np.exp(np.interp(at, known, log_values))
        return values

    return spectrum


def likely_scales(
    data: ScanSpectrum,
    spectrum: Spectrum,
    *,
    pixel: float,
    frequency_std: float | None = None,
    prior_std: float | None = None,
    fit_noise: bool = False,
) -> PriorScales:
    """Maximise the likelihood over the scales that are not given.

    Args:
        data: spectrum of the scan.
        spectrum: S of Ω₀ = 1, from `unit_spectrum`.
        pixel: a pixel's side, in half the image's longer side; Ω₀ stays between 2 and the
            frequency that alternates from pixel to pixel.
        frequency_std: Ω₀, where it is known.
        prior_std: s, where it is known.
        fit_noise: whether the noise's factor is chosen too; 1 otherwise.

    Returns:
        The scales.
    """
    search = _Search(
        data=data,
        spectrum=spectrum,
        frequency_std=frequency_std,
        prior_std=None if prior_std is None else prior_std / data.unit_std,
        fit_noise=fit_noise,
        lowest=2.0,
        highest=max(math.pi / pixel, 4.0),
    )
    best = min((search.descend(start) for start in search.starts()), key=lambda found: found[0])
    log_likelihood = -best[0] * float(data.weight.sum())
    found = search.scales(best[1])
    found["prior_std"] *= data.unit_std
    return PriorScales(**found, log_likelihood=log_likelihood)


@dataclass(frozen=True, kw_only=True)
class _Search:
    """The likelihood as a function of the logarithms of those scales that are free."""

    data: ScanSpectrum
    spectrum: Spectrum
    frequency_std: float | None
    prior_std: float | None
    fit_noise: bool
    lowest: float
    highest: float

    def scales(self, free: NDArray[np.float64]) -> dict[str, float]:
        values = np.exp(free).tolist()
        omega = values.pop(0) if self.frequency_std is None else self.frequency_std
        spread = values.pop(0) if self.prior_std is None else self.prior_std
        noise = values.pop(0) if self.fit_noise else 1.0
        return {"prior_std": spread, "frequency_std": omega, "noise_factor": noise}

    def objective(self, free: NDArray[np.float64]) -> float:
        value = self.data.log_likelihood(self.spectrum, **self.scales(free))
        return -value / float(self.data.weight.sum())

    def starts(self) -> list[NDArray[np.float64]]:
        """Return the best few of many length scales, each with a spread that fits it."""
        omegas = [self.frequency_std]
        if self.frequency_std is None:
            omegas = np.geomspace(self.lowest, self.highest, _STARTS).tolist()
        starts = [self._start(float(omega)) for omega in omegas if omega is not None]
        return sorted(starts, key=self.objective)[:_DESCENTS]

    def _start(self, omega: float) -> NDArray[np.float64]:
        data = self.data
        shape = torch.from_numpy(self.spectrum(data.angular.numpy() / omega)) / omega**2
        # the spread that the power over the noise asks for
        above = float((data.weight * (data.power - 1)).sum())
        asked = max(above, 1e-3 * float(data.weight.sum()))
        guess = 0.5 * math.log(asked / (data.gain * float((data.weight * shape).sum())))
        free = [math.log(omega)] if self.frequency_std is None else []
        free += [guess] if self.prior_std is None else []
        free += [0.0] if self.fit_noise else []
        return np.array(free)

    def descend(self, start: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        if not len(start):
            return self.objective(start), start
        bounds = [(value - _FARTHEST, value + _FARTHEST) for value in start]
        if self.frequency_std is None:
            bounds[0] = math.log(self.lowest), math.log(self.highest)
        if self.fit_noise:
            bounds[-1] = -_LARGEST_NOISE, _LARGEST_NOISE
        found = minimize(self.objective, start, method="L-BFGS-B", bounds=bounds)
        return float(found.fun), found.x
