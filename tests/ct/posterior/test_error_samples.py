"""What samples get where the folds' images explain too little: detail of a known spectrum."""

import pytest
import torch

from ct.posterior.error_samples import Gain, error_samples

SHAPE = (24, 32)


def _samples(*, spread: float, n: int, gain: float = 1.0, seed: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    folds = spread * torch.randn(4, *SHAPE, dtype=torch.float64, generator=generator)
    flat = torch.ones(SHAPE, dtype=torch.float64)
    all_alike = Gain(response=torch.full((24, 17), gain, dtype=torch.float64))
    return error_samples(0 * flat, flat, folds, all_alike, n=n, seed=seed)


def test_where_folds_explain_little_samples_have_the_spectrum_of_missing_detail():
    # folds whose spread is 1/20 of the error, and white
    power = torch.fft.rfft2(_samples(spread=0.05, n=600)).abs().square().mean(0)
    k = torch.hypot(torch.fft.fftfreq(24)[:, None], torch.fft.rfftfreq(32)).double()
    expected = k.square() * torch.exp(-k / 0.05)
    rings = [(k >= low) & (k < low + 0.05) for low in (0.02, 0.07, 0.12, 0.17, 0.22)]
    found = torch.stack([power[one].mean() / power.mean() for one in rings])
    shares = torch.stack([expected[one].mean() / expected.mean() for one in rings])
    assert torch.allclose(found, shares, rtol=0.05, atol=0.02)


@pytest.mark.parametrize(("spread", "gain"), [(0.5, 1.0), (1.5, 1 / 3)])
def test_where_folds_explain_half_of_the_variance_detail_has_the_other_half(spread, gain):
    power = torch.fft.rfft2(_samples(spread=spread, gain=gain, n=600)).abs().square().mean(0)
    k = torch.hypot(torch.fft.fftfreq(24)[:, None], torch.fft.rfftfreq(32)).double()
    # these folds are white, and detail has nothing there; a sixth of the pixels have more than 1
    assert 0.35 < float(power[k > 0.4].mean() / power.mean()) < 0.75


def test_detail_depends_on_the_seed():
    one, other = (_samples(spread=0.0, n=3, seed=seed) for seed in (0, 1))
    assert float((one - other).abs().min()) > 0
