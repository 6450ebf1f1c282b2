"""The constant-width baseline."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from bayesnn.calibration import (
    constant_width_baseline,
    coverage,
    crps_gaussian,
    interval_score,
    nll_gaussian,
)


def heteroscedastic(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    std = torch.linspace(0.1, 3, n, dtype=torch.float64)
    mean = torch.randn(n, generator=generator, dtype=torch.float64)
    return mean, std**2, mean + std * torch.randn(n, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_its_scores_are_those_of_one_gaussian_width(level: float) -> None:
    mean, variance, y = heteroscedastic(500)
    got = constant_width_baseline(mean, variance, y, level=level)
    std = float(np.sqrt(np.mean(variance.numpy())))
    assert float(got.std) == pytest.approx(std, rel=1e-12)
    half = stats.norm.ppf(0.5 + level / 2) * std
    interval = (mean - half, mean + half)
    assert float(got.mean_width) == pytest.approx(2 * half, rel=1e-9)
    assert float(got.coverage) == float(coverage(interval, y))
    assert float(got.interval_score) == pytest.approx(float(interval_score(interval, y, level)))
    assert float(got.nll) == pytest.approx(float(nll_gaussian(y, mean, std)))
    assert float(got.crps) == pytest.approx(float(crps_gaussian(y, mean, std)))


def test_the_truth_beats_it_where_the_noise_varies() -> None:
    mean, variance, y = heteroscedastic(5000)
    base = constant_width_baseline(mean, variance, y)
    half = 1.959964 * variance.sqrt()
    assert float(nll_gaussian(y, mean, variance.sqrt())) < float(base.nll) - 0.1
    assert float(crps_gaussian(y, mean, variance.sqrt())) < float(base.crps)
    assert float(interval_score((mean - half, mean + half), y, 0.95)) < float(base.interval_score)


def test_its_width_is_chosen_without_the_truth() -> None:
    mean, variance, y = heteroscedastic(100)
    a = constant_width_baseline(mean, variance, y)
    b = constant_width_baseline(mean, variance, y + 100)
    assert float(a.std) == float(b.std)
    assert float(a.mean_width) == pytest.approx(float(b.mean_width))


def test_an_even_uncertainty_is_its_own_baseline() -> None:
    mean, _, y = heteroscedastic(100)
    base = constant_width_baseline(mean, 4.0, y)
    assert float(base.nll) == pytest.approx(float(nll_gaussian(y, mean, 2.0)))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="variance: expected values of at least 0"):
        constant_width_baseline([0.0], [-1.0], [0.0])
    with pytest.raises(ValueError, match=r"variance: .* got 0 everywhere"):
        constant_width_baseline([0.0], [0.0], [0.0])
    with pytest.raises(ValueError, match="level"):
        constant_width_baseline([0.0], [1.0], [0.0], level=1.0)
    with pytest.raises(ValueError, match="y: expected the shape"):
        constant_width_baseline([0.0, 1.0], 1.0, [[0.0], [1.0]])
