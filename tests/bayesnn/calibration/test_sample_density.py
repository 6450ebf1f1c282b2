"""Negative log likelihood of samples: its definition, its laws, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from bayesnn.calibration import nll_samples
from bayesnn.seeds import seeded_generator


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded_generator(seed), dtype=torch.float64)


@given(seed=st.integers(0, 1000), m=st.integers(3, 30))
def test_it_is_the_density_of_gaussian_kernels(seed: int, m: int) -> None:
    y, samples = normal(2, 3, seed=seed), normal(m, 2, 3, seed=seed + 1)
    width = normal(2, 3, seed=seed + 2).exp()
    logs = stats.norm.logpdf(y, samples, width)  # the density itself may underflow
    want = math.log(m) - np.logaddexp.reduce(logs, axis=0).mean()
    assert float(nll_samples(y, samples, bandwidth=width)) == pytest.approx(want, rel=1e-9)
    quartiles = np.subtract(*np.percentile(samples, [75, 25], axis=0))
    spread = np.minimum(np.std(samples.numpy(), axis=0, ddof=1), quartiles / 1.34)
    rule = 1.06 * spread * m ** (-1 / 5)
    assert float(nll_samples(y, samples)) == pytest.approx(
        float(nll_samples(y, samples, bandwidth=rule)), rel=1e-9
    )


def test_many_samples_score_as_the_distribution_that_they_come_from() -> None:
    y, samples = 3 + 2 * normal(500, seed=1), 3 + 2 * normal(4000, 500, seed=2)
    want = -stats.norm.logpdf(y, 3, 2).mean()
    assert float(nll_samples(y, samples)) == pytest.approx(want, abs=0.02)


def test_units_add_their_logarithm() -> None:
    y, samples = normal(20, seed=1), normal(50, 20, seed=2)
    got = float(nll_samples(7 * y - 5, 7 * samples - 5))
    assert got == pytest.approx(float(nll_samples(y, samples)) + math.log(7))


def test_chunks_change_nothing() -> None:
    y, samples = normal(4, 5, seed=1), normal(9, 4, 5, seed=2)
    whole = float(nll_samples(y, samples))
    for budget in (1, 1000):
        assert float(nll_samples(y, samples, memory_budget=budget)) == pytest.approx(whole)


def test_far_observations_and_single_points_have_a_finite_score() -> None:
    assert math.isfinite(float(nll_samples([1e4], [[0.0], [1.0], [2.0]])))
    assert float(nll_samples(0.5, [0.0, 1.0], bandwidth=1.0)) == pytest.approx(
        0.125 + 0.5 * math.log(2 * math.pi)
    )


def test_device_and_dtype_follow_y(device: str) -> None:
    got = nll_samples(torch.zeros(2, device=device), normal(5, 2).float())
    assert (got.device.type, got.dtype, got.shape) == (device, torch.float32, ())


def test_what_does_not_fit_is_refused() -> None:
    y, samples = np.zeros(2), np.arange(6.0).reshape(3, 2)
    with pytest.raises(ValueError, match=r"samples: expected the shape \(members, 2\)"):
        nll_samples(y, samples.T)
    with pytest.raises(ValueError, match=r"bandwidth: expected the shape \(2,\) of y"):
        nll_samples(y, samples, bandwidth=[1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="bandwidth: expected values above 0, got -1"):
        nll_samples(y, samples, bandwidth=[1.0, -1.0])
    with pytest.raises(ValueError, match="bandwidth: expected finite"):
        nll_samples(y, samples, bandwidth=math.inf)
    with pytest.raises(ValueError, match="samples: expected two or more that differ"):
        nll_samples(y, samples[:1])
    for equal in (np.zeros((3, 2)), np.column_stack([samples[:, 0], [1.0, 1.0, 1.0]])):
        with pytest.raises(ValueError, match=r"middle half is one value somewhere.*a bandwidth"):
            nll_samples(y, equal)
    with pytest.raises(ValueError, match="memory_budget"):
        nll_samples(y, samples, memory_budget=0)
