import math

import pytest
import torch
from scipy.ndimage import gaussian_filter

import ct
from ct.posterior.blur import blurred, blurred_along_last
from ct.posterior.ray_bands import N_BANDS, ray_bands
from ct.posterior.variance_fit import fit_variance


@pytest.mark.parametrize("std", [0.7, 1.5, 4.0, 9.0])
def test_blur_is_scipys(std):
    image = torch.rand(23, 31, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    # SciPy's reach is ⌊4 std + ½⌋ too
    assert torch.allclose(
        blurred(image, std), torch.from_numpy(gaussian_filter(image.numpy(), std))
    )
    lines = torch.from_numpy(gaussian_filter(image.numpy(), (0, std)))
    assert torch.allclose(blurred_along_last(image, std), lines)
    assert blurred(image, 0) is image


def _blob(grid: ct.ImageGrid) -> torch.Tensor:
    x, y = grid.x_positions - 1.0, grid.y_positions[:, None] + 2.0
    # of low frequencies, which the projector's interpolation leaves alone
    return torch.exp(-(x**2 + 2 * y**2) / 60) * torch.cos(0.3 * x + 0.1 * y)


@pytest.mark.parametrize(("pixel", "spacing"), [(1.0, 1.0), (0.5, 0.8), (1.0, 1.7)])
@pytest.mark.parametrize("fan", [False, True])
def test_energies_of_views_all_around_are_the_energy_of_the_image(pixel, spacing, fan):
    side = round(64 / pixel)
    grid = ct.ImageGrid((side, side), pixel_size=pixel)
    n = math.ceil(100 / spacing)
    if fan:  # from so far away that its rays are nearly parallel
        angles = [2 * k * math.pi / 90 for k in range(90)]
        scan = ct.FanBeam(angles, n, 3000.0, 4500.0, detector_spacing=1.5 * spacing)
    else:
        scan = ct.ParallelBeam([k * math.pi / 90 for k in range(90)], n, spacing)
    image = _blob(grid).double()
    rays = ct.projector(grid, scan)(image)
    bands = ray_bands(scan, pixel, image.device)
    assert bands.spacing == pytest.approx(spacing)  # at the axis
    total = sum(float(bands.energy(rays, band).sum()) for band in range(N_BANDS))
    # filters of sharp bands ring beyond the detector's ends
    assert total * math.pi / 90 == pytest.approx(float(image.square().sum()) * pixel**2, rel=0.09)


def test_a_ray_at_one_end_has_no_energy_at_the_other():
    bands = ray_bands(ct.ParallelBeam([0.0], 40), 1.0, torch.device("cpu"))
    impulse = torch.zeros(1, 40, dtype=torch.float64)
    impulse[0, 0] = 1
    for values in (bands.energy(impulse, 6)[0], bands.spread_out(impulse, 6)[0]):
        assert float(values[20:].max()) < 0.1 * float(values.max())


def test_the_energy_of_noise_is_what_it_is_said_to_be():
    scan = ct.ParallelBeam([0.0, 1.0], 40)
    bands = ray_bands(scan, 1.0, torch.device("cpu"))
    variance = torch.rand(2, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    variance[0, 10:20] = 0
    draws = torch.randn(
        4000, 2, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    for band in (0, 3, 9):
        expected = bands.spread_out(variance, band)
        found = bands.energy(draws * variance.sqrt(), band).mean(0)
        assert torch.allclose(found, expected, rtol=0.12, atol=0.03 * float(expected.max()))


def test_the_gain_is_the_energy_far_inside_a_view_of_even_noise():
    bands = ray_bands(ct.ParallelBeam([0.0], 4000), 1.0, torch.device("cpu"))
    even = torch.ones(1, 4000, dtype=torch.float64)
    for band in range(N_BANDS):
        inside = float(bands.spread_out(even, band)[0, 2000])
        assert bands.gain(band) == pytest.approx(inside, rel=2e-3)


@pytest.mark.parametrize("power", [0, 2])
def test_shares_of_a_spectrum_are_its_integral_over_rings(power):
    bands = ray_bands(ct.ParallelBeam([0.0], 40, detector_spacing=2.0), 1.0, torch.device("cpu"))
    k = torch.linspace(0, 0.5, 200_001, dtype=torch.float64)
    density = k ** (1 + power) * torch.exp(-k / 0.09)
    # bins of 2 mm and pixels of 1 mm: a band of 0.05 a bin is 0.025 a pixel, half of it unseen
    expected = [float(density[(k >= b * 0.025) & (k < (b + 1) * 0.025)].sum()) for b in range(10)]
    total = sum(expected)
    shares = bands.shares(1.0, 0.09, power)
    assert shares == pytest.approx([one / total for one in expected], rel=1e-3)
    assert sum(shares) == pytest.approx(1)


def test_the_bands_together_are_the_ramps_root_up_to_the_highest_frequency():
    bands = ray_bands(ct.ParallelBeam([0.0], 40), 1.0, torch.device("cpu"))
    k = torch.fft.rfftfreq(bands.n_padded, dtype=torch.float64)
    assert float(k[-1]) == 0.5
    assert torch.equal(bands.responses.sum(0), k.sqrt())


def test_frequencies_that_no_pixel_has_are_in_no_band():
    # bins of 0.25 mm and pixels of 1 mm: up to 0.125 cycles a bin
    scan = ct.ParallelBeam([0.0], 256, detector_spacing=0.25)
    bands = ray_bands(scan, 1.0, torch.device("cpu"))
    assert bands.edges[-1] == 0.125
    bins = torch.arange(256, dtype=torch.float64)
    window = torch.hann_window(256, periodic=False, dtype=torch.float64)

    def energies(frequency: float) -> list[float]:
        wave = (window * torch.cos(2 * math.pi * frequency * bins))[None]
        return [float(bands.energy(wave, band).sum()) for band in range(N_BANDS)]

    unseen, finest = energies(0.16), energies(0.119)
    assert sum(unseen) < 1e-5 * sum(finest)
    assert finest[-1] > 0.95 * sum(finest)


def test_variances_of_parts_are_found_whatever_is_known():
    generator = torch.Generator().manual_seed(0)
    parts = torch.rand(60_000, 3, dtype=torch.float64, generator=generator)
    known = torch.rand(60_000, dtype=torch.float64, generator=generator)
    true = torch.tensor([0.5, 0.0, 3.0], dtype=torch.float64)
    normal = torch.randn(60_000, dtype=torch.float64, generator=generator)
    squares = normal.square() * (parts @ true + known)
    found = fit_variance(squares, parts, known)
    assert found.tolist() == pytest.approx(true.tolist(), abs=0.1)
    # in other units, and with a part that is nowhere
    scaled = fit_variance(1e-8 * squares, 5 * parts, 1e-8 * known)
    assert torch.allclose(scaled, 1e-8 / 5 * found, rtol=1e-6, atol=1e-12)
    padded = fit_variance(squares, torch.cat([parts, 0 * parts[:, :1]], 1), known)
    assert torch.allclose(padded[:3], found, rtol=1e-3, atol=1e-3)
    assert float(padded[3]) == 0
