"""How fine missing detail is: rays of images whose spectrum is known."""

import math

import pytest
import torch

import ct
from ct.posterior.detail_spectrum import DetailSpectrum, detail_spectrum
from ct.posterior.missing_detail import HeldOutRays
from ct.posterior.ray_bands import ray_bands

SIDE = 64
GRID = ct.ImageGrid((SIDE, SIDE), pixel_size=0.5)
SCAN = ct.ParallelBeam([k * math.pi / 40 for k in range(40)], 92, detector_spacing=0.5)

COARSEST = DetailSpectrum(power=2, decay=0.05)


def _image(decay: float, power: int, seed: int) -> torch.Tensor:
    """Return a disc full of noise of variance 1 with the spectrum k^power exp(−k/decay)."""
    white = torch.randn(
        SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    k = torch.hypot(torch.fft.fftfreq(SIDE)[:, None], torch.fft.rfftfreq(SIDE)).double()
    response = k ** (power / 2) * torch.exp(-k / (2 * decay))
    noise = torch.fft.irfft2(torch.fft.rfft2(white) * response, s=(SIDE, SIDE))
    place = torch.arange(SIDE) - (SIDE - 1) / 2
    return (torch.hypot(place[:, None], place) < 26) * noise / noise.std()


def _found(
    decay: float,
    *,
    explained: float,
    noise: float = 0.0,
    known: float = 0.02,
    lacking: tuple[int, ...] = (),
    power: int = 2,
) -> DetailSpectrum:
    A = ct.projector(GRID, SCAN)
    error = math.sqrt(explained) * A(_image(known, 0, seed=1))
    error += math.sqrt(1 - explained) * A(_image(decay, power, seed=2))
    generator = torch.Generator().manual_seed(3)
    drawn = torch.randn(error.shape, dtype=torch.float64, generator=generator)
    measured = torch.ones_like(error, dtype=torch.bool)
    predictable = torch.stack([A(_image(known, 0, seed=seed)) for seed in (4, 5)])
    for view in lacking:  # of which nothing is known, so anything may be said
        measured[view], predictable[:, view] = False, 30 * drawn[view]
    rays = HeldOutRays(
        residual=torch.where(measured, error + noise * drawn, 0.0),
        noise_variance=torch.where(measured, noise**2, 0.0).double(),
        measured=measured,
        predictable=predictable,
    )
    bands = ray_bands(SCAN, GRID.pixel_size, error.device)
    return detail_spectrum(rays, explained, bands, GRID.pixel_size)


@pytest.mark.parametrize(
    ("explained", "noise", "lacking"),
    [(0.0, 0.0, ()), (0.5, 0.0, ()), (0.3, 1.0, ()), (0.9, 0.0, ()), (0.5, 0.0, (3, 4, 20))],
)
@pytest.mark.parametrize("decay", [0.05, 0.1])
def test_the_details_spectrum_is_found(decay, explained, noise, lacking):
    # the projector's interpolation hides some of the finest frequencies
    lowest = {0.05: 0.05, 0.1: 0.07}[decay]
    found = _found(decay, explained=explained, noise=noise, lacking=lacking)
    assert lowest <= found.decay <= decay
    assert found.power == 2


def test_what_the_known_scan_shows_is_not_taken_for_detail():
    # its errors are fine, and most of all; the rest is coarse
    assert _found(0.05, explained=0.7, known=0.2) == COARSEST


@pytest.mark.parametrize(("explained", "noise"), [(0.0, 0.0), (0.2, 1.0), (0.3, 0.0)])
@pytest.mark.parametrize("decay", [0.05, 0.07])
def test_errors_of_low_frequencies_are_found_too(decay, explained, noise):
    found = _found(decay, explained=explained, noise=noise, known=0.1, power=0)
    assert found == DetailSpectrum(power=0, decay=decay)


def test_rays_without_error_ask_for_the_coarsest_detail_and_unmeasured_ones_for_nothing():
    zeros = torch.zeros(40, 92, dtype=torch.float64)
    measured = torch.zeros(40, 92, dtype=torch.bool)
    rays = HeldOutRays(
        residual=zeros,
        noise_variance=zeros,
        measured=measured,
        predictable=torch.stack([zeros] * 2),
    )
    bands = ray_bands(SCAN, GRID.pixel_size, zeros.device)
    assert detail_spectrum(rays, 0.0, bands, GRID.pixel_size) == COARSEST
