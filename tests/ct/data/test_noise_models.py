"""Each noise model has the mean and the variance that its formula says."""

from __future__ import annotations

import math

import pytest
import torch

from ct.data.noise_models import add_gaussian_noise, draw_counts, post_log_std

N = 200_000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_gaussian_noise_has_the_std_of_each_ray() -> None:
    std = torch.tensor([[0.5], [2.0]])
    noise = add_gaussian_noise(torch.full((2, N), 3.0), std, generator()) - 3
    torch.testing.assert_close(noise.std(dim=1, keepdim=True), std, rtol=0.01, atol=0)
    assert abs(float(noise.mean())) < 0.01


@pytest.mark.parametrize(("gain", "dark", "read_std"), [(1.0, 0.0, 0.0), (7.5, 100.0, 20.0)])
def test_counts_have_the_mean_and_variance_of_photon_transfer(
    gain: float, dark: float, read_std: float
) -> None:
    p = torch.tensor([[0.0], [2.0]], dtype=torch.float64).expand(2, N)
    counts = draw_counts(p, 5000.0, generator(), gain=gain, dark=dark, read_std=read_std)
    signal = 5000 * torch.exp(-p[:, 0])
    torch.testing.assert_close(counts.mean(dim=1), signal + dark, rtol=2e-3, atol=0)
    torch.testing.assert_close(counts.var(dim=1), gain * signal + read_std**2, rtol=0.015, atol=0)


def test_photon_counts_are_whole_and_repeat_with_their_seed() -> None:
    p = torch.linspace(0, 3, 50)
    counts = draw_counts(p, 1e4, generator())
    assert counts.dtype == torch.float32
    assert bool((counts == counts.round()).all())
    assert torch.equal(counts, draw_counts(p, 1e4, generator()))
    assert not torch.equal(counts, draw_counts(p, 1e4, generator(1)))


@pytest.mark.parametrize(("photons", "tolerance"), [(30.0, 0.05), (100.0, 0.015), (10_000.0, 0.01)])
@pytest.mark.parametrize("read_std", [0.0, 30.0])
def test_post_log_std_is_what_the_logarithm_makes_of_counts(
    photons: float, tolerance: float, read_std: float
) -> None:
    gain, i0 = 8.0, 1e6
    p = torch.full((N,), -math.log(gain * photons / i0), dtype=torch.float64)
    counts = draw_counts(p, i0, generator(), gain=gain, read_std=read_std)
    measured = -(counts.clamp_min(1.0) / i0).log()
    expected = post_log_std(i0 * torch.exp(-p[:1]), gain=gain, read_std=read_std)
    assert float(measured.std()) == pytest.approx(float(expected), rel=2 * tolerance)


def test_no_signal_has_infinite_std() -> None:
    std = post_log_std(torch.tensor([0.0, -3.0, 4.0]), read_std=3.0)
    assert std.tolist() == [math.inf, math.inf, pytest.approx(math.sqrt(13) / 4)]


@pytest.mark.parametrize(
    ("i0", "more", "name"),
    [(0.0, {}, "i0"), (9.0, {"gain": -1.0}, "gain"), (9.0, {"read_std": -1.0}, "read_std")],
)
def test_impossible_settings(i0: float, more: dict[str, float], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        draw_counts(torch.zeros(3), i0, generator(), **more)
