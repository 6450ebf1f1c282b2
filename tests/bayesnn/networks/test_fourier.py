"""Random Fourier features."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bayesnn.networks import FourierFeatures
from bayesnn.seeds import seeded_generator


def test_features_are_their_formula() -> None:
    features = FourierFeatures(2, 5, frequency_std=3.0, generator=seeded_generator(0)).double()
    x = torch.rand(7, 2, dtype=torch.float64, generator=seeded_generator(1))
    phase = x @ features.frequencies.T + math.pi / 4
    torch.testing.assert_close(features(x), torch.cat((phase.sin(), phase.cos()), dim=-1))
    assert features.out_features == 10
    assert not list(features.parameters())


@given(shift=st.floats(-2, 2), seed=st.integers(0, 1000))
def test_inner_products_are_stationary(shift: float, seed: int) -> None:
    features = FourierFeatures(2, 16, frequency_std=2.0, generator=seeded_generator(seed)).double()
    x = torch.rand(4, 2, dtype=torch.float64, generator=seeded_generator(seed, 1))
    gram = features(x) @ features(x).T
    torch.testing.assert_close(features(x + shift) @ features(x + shift).T, gram)


def test_many_frequencies_tend_to_the_gaussian_kernel() -> None:
    n, std = 200_000, 2.0
    features = FourierFeatures(2, n, frequency_std=std, generator=seeded_generator(0))
    x = torch.tensor([[0.0, 0.0], [0.3, 0.4]])
    a, b = features(x)
    expected = math.exp(-(std**2) * 0.25 / 2)
    assert abs(float(a @ b) / n - expected) < 5 / math.sqrt(n)


@pytest.mark.parametrize("bad", [{"frequency_std": 0.0}, {"n_frequencies": 0}])
def test_impossible_settings_are_refused(bad: dict[str, float]) -> None:
    settings = {"in_features": 2, "n_frequencies": 4, "frequency_std": 1.0} | bad
    with pytest.raises(ValueError, match=next(iter(bad))):
        FourierFeatures(**settings)
