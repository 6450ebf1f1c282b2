"""Intervals between sample quantiles: torch's quantiles, and what exact samples cover."""

from __future__ import annotations

import pytest
import torch

from bayesnn.calibration import coverage, sample_quantile_intervals
from bayesnn.seeds import seeded_generator


@pytest.mark.parametrize("n", [2, 7, 50])
def test_ends_are_linear_quantiles(n: int) -> None:
    samples = torch.randn(n, 3, 4, generator=seeded_generator(0, n), dtype=torch.float64)
    interval_at = sample_quantile_intervals(samples)
    for level in (0.0, 0.3, 0.95):
        shares = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
        ends = torch.quantile(samples, shares, dim=0)
        for found, wanted in zip(interval_at(level), ends, strict=True):
            torch.testing.assert_close(found, wanted)


def test_exact_uniform_samples_cover_less_than_they_claim() -> None:
    draws = torch.rand(9, 40_000, generator=seeded_generator(1))
    held = coverage(sample_quantile_intervals(draws[:8])(0.5), draws[8])
    assert float(held) == pytest.approx(0.5 * 7 / 9, abs=0.01)


def test_one_sample_is_a_point() -> None:
    lower, upper = sample_quantile_intervals(torch.ones(1, 2))(0.9)
    assert torch.equal(lower, upper)
