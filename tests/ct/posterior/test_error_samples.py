"""Samples of an image: a jackknife's covariance, and detail where that explains too little."""

import pytest
import torch

from bayesnn.seeds import seeded_generator
from ct.posterior.detail_spectrum import DetailSpectrum
from ct.posterior.error_samples import Gain, error_parts, error_samples

SHAPE = (24, 32)


def _normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _samples(
    *, spread: float, n: int, gain: float = 1.0, seed: int = 3, decay: float = 0.05, power: int = 2
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    folds = spread * torch.randn(4, *SHAPE, dtype=torch.float64, generator=generator)
    flat = torch.ones(SHAPE, dtype=torch.float64)
    all_alike = Gain(response=torch.full((24, 17), gain, dtype=torch.float64))
    parts = error_parts(flat, folds, all_alike)
    return error_samples(
        0 * flat, flat, parts, detail=DetailSpectrum(power=power, decay=decay), n=n, seed=seed
    )


@pytest.mark.parametrize(("decay", "spectral_power"), [(0.05, 2), (0.14, 2), (0.1, 0)])
def test_where_folds_explain_little_samples_have_the_spectrum_of_missing_detail(
    decay, spectral_power
):
    # folds whose spread is 1/20 of the error, and white
    samples = _samples(spread=0.05, n=600, decay=decay, power=spectral_power)
    power = torch.fft.rfft2(samples).abs().square().mean(0)
    k = torch.hypot(torch.fft.fftfreq(24)[:, None], torch.fft.rfftfreq(32)).double()
    expected = k**spectral_power * torch.exp(-k / decay)
    rings = [(k >= low) & (k < low + 0.05) for low in (0.02, 0.07, 0.12, 0.17, 0.22)]
    found = torch.stack([power[one].mean() / power.mean() for one in rings])
    shares = torch.stack([expected[one].mean() / expected.mean() for one in rings])
    assert torch.allclose(found, shares, rtol=0.05, atol=0.02)


def test_detail_never_shifts_a_whole_image():
    # even where it has low frequencies; folds explain 1/400 of the variance
    samples = _samples(spread=0.05, n=200, decay=0.05, power=0)
    assert float(samples.mean((1, 2)).abs().max()) < 0.02


@pytest.mark.parametrize(("spread", "gain"), [(0.5, 1.0), (1.5, 1 / 3)])
def test_where_folds_explain_half_of_the_variance_detail_has_the_other_half(spread, gain):
    power = torch.fft.rfft2(_samples(spread=spread, gain=gain, n=600)).abs().square().mean(0)
    k = torch.hypot(torch.fft.fftfreq(24)[:, None], torch.fft.rfftfreq(32)).double()
    # these folds are white, and detail has nothing there; a sixth of the pixels have more than 1
    assert 0.35 < float(power[k > 0.4].mean() / power.mean()) < 0.75


def test_samples_have_exactly_the_mean_and_standard_deviation():
    mean, folds = _normal(12, 16, seed=0), _normal(6, 12, 16, seed=1)
    std = _normal(12, 16, seed=2).abs() + 0.1
    gain = Gain(response=torch.ones(12, 9, dtype=torch.float64))
    parts = error_parts(std, folds, gain)

    def samples_of(seed: int) -> torch.Tensor:
        return error_samples(
            mean, std, parts, detail=DetailSpectrum(power=2, decay=0.05), n=7, seed=seed
        )

    samples = samples_of(0)
    assert torch.allclose(samples.mean(0), mean)
    assert torch.allclose(samples.std(0), std)
    assert torch.equal(samples, samples_of(0))
    assert not torch.equal(samples, samples_of(1))


@pytest.mark.parametrize("shape", [(12, 16), (11, 13), (5, 6)])
def test_drawn_some_at_a_time_they_are_those_of_all_at_once(shape, monkeypatch):
    monkeypatch.setattr("ct.posterior.error_samples._PIXELS_AT_ONCE", 1)
    n, spectrum = 37, DetailSpectrum(power=1, decay=0.1)
    mean, folds = _normal(*shape, seed=0), _normal(6, *shape, seed=1)
    std = _normal(*shape, seed=2).abs() + 0.1
    gain = Gain(response=torch.ones(shape[0], shape[1] // 2 + 1, dtype=torch.float64))
    parts = error_parts(std, folds, gain)

    k = torch.hypot(
        torch.fft.fftfreq(shape[0], dtype=torch.float64)[:, None],
        torch.fft.rfftfreq(shape[1], dtype=torch.float64),
    )
    response = (k > 0) * k**0.5 * torch.exp(-k / 0.2)
    variance = torch.fft.irfft2(response.square() + 0j, s=shape)[0, 0]
    weights, white = (
        torch.randn(n, *size, dtype=torch.float64, generator=seeded_generator(3, place))
        for place, size in ((0, (6,)), (1, shape))
    )
    detail = torch.fft.irfft2(torch.fft.rfft2(white) * response / variance.sqrt(), s=shape)
    raw = torch.tensordot(weights, parts.shared, dims=1) + parts.detail * detail
    raw -= raw.mean(0)
    samples = error_samples(mean, std, parts, detail=spectrum, n=n, seed=3)
    assert torch.allclose(samples, mean + raw * std / raw.std(0), rtol=1e-10, atol=1e-10)


def test_where_the_folds_explain_the_spread_samples_are_correlated_as_a_jackknife_says():
    folds = _normal(5, 6, 6, seed=0)
    deviations = (4 / 5) ** 0.5 * (folds - folds.mean(0)).flatten(1)
    covariance = deviations.T @ deviations
    std = covariance.diagonal().sqrt().reshape(6, 6)
    gain = Gain(response=torch.ones(6, 4, dtype=torch.float64))
    parts = error_parts(std, folds, gain)
    zero = torch.zeros_like(std)
    samples = error_samples(
        zero, std, parts, detail=DetailSpectrum(power=2, decay=0.05), n=6000, seed=3
    ).flatten(1)
    assert torch.allclose(samples.T.cov(), covariance, atol=0.05 * float(covariance.max()))


def test_detail_depends_on_the_seed():
    one, other = (_samples(spread=0.0, n=3, seed=seed) for seed in (0, 1))
    assert float((one - other).abs().min()) > 0


def test_the_explained_share_is_that_of_all_pixels_variance():
    generator = torch.Generator().manual_seed(0)
    folds = torch.randn(3, *SHAPE, dtype=torch.float64, generator=generator)
    own = folds.var(0) * 3 * (2 / 3) ** 2  # (K - 1) / K of the squares' sum, K = 3
    std = torch.where(torch.arange(32) < 8, 0.5 * own.sqrt(), 2 * own.sqrt())
    gain = Gain(response=torch.ones(24, 17, dtype=torch.float64))
    parts = error_parts(std, folds, gain)
    # where a jackknife's is more than the variance it is scaled down, and nothing is left
    assert float(parts.detail[:, :8].max()) < 1e-6 * float(std.max())
    assert torch.allclose(parts.shared.square().sum(0) + parts.detail.square(), std.square())
    whole = std.square().sum()
    expected = (std[:, :8].square().sum() + own[:, 8:].sum()) / whole
    assert parts.explained == pytest.approx(float(expected))
