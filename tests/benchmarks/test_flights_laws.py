"""Laws of noise against scipy and scoringrules, and mixtures of Student's t by integration."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import scoringrules
import torch
from torch import Tensor

from benchmarks.flight_delays.laws import GAUSSIAN, Law, Student
from benchmarks.flight_delays.mixture import Mixture

DEGREES = (3, 4, 5, 8, 9)
LAWS = [(GAUSSIAN, scipy.stats.norm())] + [
    (Student(nu), scipy.stats.t(nu, scale=math.sqrt((nu - 2) / nu))) for nu in DEGREES
]


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("law", "scipys"), LAWS)
def test_laws_are_scipys_and_of_variance_1(law: Law, scipys: scipy.stats.rv_continuous) -> None:
    z = torch.linspace(-30, 30, 301, dtype=torch.float64)
    np.testing.assert_allclose(law.log_density(z), scipys.logpdf(z), rtol=1e-10)
    np.testing.assert_allclose(law.below(z), scipys.cdf(z), rtol=0, atol=1e-15)
    for level in (0.025, 0.25, 0.5, 0.9):
        assert law.quantile(level) == pytest.approx(scipys.ppf(level))
    assert scipys.var() == pytest.approx(1.0)


@pytest.mark.parametrize("degrees", DEGREES)
def test_scores_of_one_component_are_scoringrules(degrees: int) -> None:
    y, mean, std = 10 * _random(40), 5 * _random(1, 40, seed=1), 0.1 + _random(1, 40).exp()
    found = Mixture(means=mean, stds=std, law=Student(degrees))
    scale = (std[0] * math.sqrt((degrees - 2) / degrees)).numpy()
    crps = scoringrules.crps_t(y.numpy(), degrees, mean[0].numpy(), scale)
    np.testing.assert_allclose(found.crps(y), crps, rtol=1e-5)
    log_score = scoringrules.logs_t(y.numpy(), degrees, mean[0].numpy(), scale)
    np.testing.assert_allclose(found.nll(y), log_score, rtol=1e-10)


def test_scores_of_mixtures_by_numerical_integration() -> None:
    means, stds = 20 * _random(4, 20), 2 + 30 * _random(4, 20, seed=1).abs()
    mixture, y = Mixture(means=means, stds=stds, law=Student(3)), 40 * _random(20, seed=2)
    grid = torch.linspace(-20_000, 20_000, 800_001, dtype=torch.float64)
    for i in (0, 7, 19):
        laws = [
            scipy.stats.t(3, loc=float(m), scale=float(s) / math.sqrt(3))
            for m, s in zip(means[:, i], stds[:, i], strict=True)
        ]
        below = np.mean([law.cdf(grid) for law in laws], axis=0)
        step = (grid >= y[i]).double().numpy()
        crps = np.trapezoid((below - step) ** 2, grid.numpy())
        assert float(mixture.crps(y)[i]) == pytest.approx(crps, rel=1e-3)
        at = float(y[i])
        assert float(mixture.pit(y)[i]) == pytest.approx(np.mean([law.cdf(at) for law in laws]))
        density = np.mean([law.pdf(at) for law in laws])
        assert float(mixture.nll(y)[i]) == pytest.approx(-math.log(density))


def test_quadrature_agrees_with_one_of_eight_times_the_nodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Members that are far apart, as they are far from the data, with noise of unlike sizes."""
    means, stds = 60 * _random(10, 200), 5 + 30 * _random(10, 200, seed=1).abs()
    coarse = Student(3).spread(means, stds)
    monkeypatch.setattr("benchmarks.flight_delays.laws.NODES", 1281)
    error = (Student(3).spread(means, stds) / coarse - 1).abs()
    assert float(error.max()) < 1e-2
    assert float(error.mean()) < 5e-4


def test_quantiles_and_units_keep_the_law() -> None:
    mixture = Mixture(means=_random(3, 9), stds=_random(3, 9).exp(), law=Student(4))
    for level in (0.025, 0.25, 0.975):
        below = mixture.pit(mixture.quantile(level))
        torch.testing.assert_close(below, torch.full_like(below, level), atol=1e-9, rtol=0)
    minutes, y = mixture.in_units(10.0, 40.0), _random(9, seed=3)
    assert minutes.law == Student(4)
    torch.testing.assert_close(minutes.nll(40 * y + 10), mixture.nll(y) + math.log(40))
    torch.testing.assert_close(minutes.crps(40 * y + 10), 40 * mixture.crps(y))
