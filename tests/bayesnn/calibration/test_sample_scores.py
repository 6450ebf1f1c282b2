"""CRPS and energy score of samples: definitions pair by pair, bias, memory."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bayesnn.calibration import (
    crps_gaussian,
    crps_samples,
    energy_score,
    fair_crps_samples,
    fair_energy_score,
)
from bayesnn.seeds import seeded_generator
from tests.reference.naive_sample_scores import sample_score

Score = Callable[..., Tensor]
CRPS = [(crps_samples, False), (fair_crps_samples, True)]
ENERGY = [(energy_score, False), (fair_energy_score, True)]
ALL = [score for score, _ in (*CRPS, *ENERGY)]


@given(seed=st.integers(0, 10_000), m=st.integers(2, 9), digits=st.sampled_from([0, 12]))
@pytest.mark.parametrize(("score", "fair"), CRPS)
def test_crps_is_its_definition(score: Score, fair: bool, seed: int, m: int, digits: int) -> None:
    """Ties too: with no digits kept many samples are equal."""
    rng = np.random.default_rng(seed)
    y, samples = rng.normal(size=(2, 3)).round(digits), rng.normal(size=(m, 2, 3)).round(digits)
    want = [sample_score(y[i], samples[:, *i], fair=fair) for i in np.ndindex(2, 3)]
    assert float(score(y, samples)) == pytest.approx(np.mean(want), rel=1e-9, abs=1e-12)


@given(seed=st.integers(0, 10_000), m=st.integers(2, 6), outputs=st.integers(1, 4))
@pytest.mark.parametrize(("score", "fair"), ENERGY)
def test_energy_score_is_its_definition(
    score: Score, fair: bool, seed: int, m: int, outputs: int
) -> None:
    rng = np.random.default_rng(seed)
    y, samples = rng.normal(size=(3, 2, outputs)), rng.normal(size=(m, 3, 2, outputs))
    want = [sample_score(y[i], samples[:, *i], fair=fair) for i in np.ndindex(3, 2)]
    assert float(score(y, samples)) == pytest.approx(np.mean(want), rel=1e-9, abs=1e-12)


@given(seed=st.integers(0, 10_000))
def test_of_one_output_the_energy_score_is_the_crps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, samples = rng.normal(size=4), rng.normal(size=(5, 4))
    for (energy, _), (crps, _) in zip(ENERGY, CRPS, strict=True):
        got = float(energy(y[:, None], samples[..., None]))
        assert got == pytest.approx(float(crps(y, samples)), rel=1e-9)


@given(seed=st.integers(0, 10_000))
def test_the_energy_score_does_not_see_rotations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, samples = rng.normal(size=(4, 3)), rng.normal(size=(5, 4, 3))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    got = float(energy_score(y @ turn, samples @ turn))
    assert got == pytest.approx(float(energy_score(y, samples)), rel=1e-9)


def test_the_energy_score_sees_correlations() -> None:
    """The true one scores best, beside samples with the same distribution of each output."""
    generator = seeded_generator(0)
    z = torch.randn(60, 400, 2, generator=generator, dtype=torch.float64)
    joint = torch.stack([z[..., 0], 0.8 * z[..., 0] + 0.6 * z[..., 1]], -1)
    y, samples = joint[0], joint[1:]
    right = float(fair_energy_score(y, samples))
    turned = float(fair_energy_score(y, samples * torch.tensor([1.0, -1.0])))
    assert right < turned - 0.05


def test_fair_scores_do_not_depend_on_the_number_of_samples() -> None:
    """Gaussian samples: the fair score is the Gaussian's own, the plain one E|X − X'|/2m more."""
    n = 200_000
    y = torch.randn(n, generator=seeded_generator(1), dtype=torch.float64)
    exact = 1 / math.sqrt(math.pi)
    assert float(crps_gaussian(y, 0.0, 1.0)) == pytest.approx(exact, abs=0.003)
    for m in (2, 5):
        samples = torch.randn(m, n, generator=seeded_generator(2, m), dtype=torch.float64)
        fair, plain = float(fair_crps_samples(y, samples)), float(crps_samples(y, samples))
        assert fair == pytest.approx(exact, abs=0.005)
        assert plain - fair == pytest.approx(2 / math.sqrt(math.pi) / (2 * m), abs=0.003)
        pairs = (y[:, None], samples[..., None])
        bias = float(energy_score(*pairs) - fair_energy_score(*pairs))
        assert bias == pytest.approx(plain - fair, rel=1e-9)


def test_many_samples_score_as_the_distribution_that_they_come_from() -> None:
    probability = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    samples = 1 + 2 * torch.special.ndtri(probability)
    y = torch.tensor([-3.0, 0.5, 1.0, 6.0], dtype=torch.float64)
    got = crps_samples(y, samples[:, None].expand(-1, 4))
    assert float(got) == pytest.approx(float(crps_gaussian(y, 1.0, 2.0)), abs=2e-3)


@pytest.mark.parametrize("score", ALL)
def test_chunks_change_nothing(score: Score) -> None:
    rng = np.random.default_rng(0)
    y, samples = rng.normal(size=(7, 2)), rng.normal(size=(6, 7, 2))
    whole = float(score(y, samples))
    for budget in (1, 6 * 2 * 8 * 5 * 3, 2**20):
        assert float(score(y, samples, memory_budget=budget)) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("score", [crps_samples, fair_crps_samples])
def test_a_large_common_value_costs_no_digits_in_float32(score: Score) -> None:
    rng = np.random.default_rng(0)
    y, samples = rng.integers(0, 9, 50), rng.integers(0, 9, (40, 50))  # exact in float32
    near = float(score(torch.tensor(y).float(), torch.tensor(samples).float()))
    far = float(score(torch.tensor(y + 2**20).float(), torch.tensor(samples + 2**20).float()))
    assert far == pytest.approx(near, rel=1e-6)
    assert near == pytest.approx(float(score(y, samples)), rel=1e-6)


@pytest.mark.parametrize("score", ALL)
def test_what_does_not_fit_is_refused(score: Score) -> None:
    y, samples = np.zeros((3, 2)), np.zeros((4, 3, 2))
    with pytest.raises(ValueError, match=r"samples: expected the shape \(members, 3, 2\)"):
        score(y, np.moveaxis(samples, 0, -1))
    with pytest.raises(ValueError, match="samples: expected the shape"):
        score(y, 1.0)
    with pytest.raises(ValueError, match="y: expected finite"):
        score(y + math.inf, samples)
    with pytest.raises(ValueError, match="samples: expected finite"):
        score(y, samples * math.nan)
    with pytest.raises(ValueError, match="memory_budget"):
        score(y, samples, memory_budget=0)


@pytest.mark.parametrize("score", [fair_crps_samples, fair_energy_score])
def test_one_sample_has_no_fair_score(score: Score) -> None:
    with pytest.raises(ValueError, match="at least 2 for an unbiased score"):
        score([[0.0]], [[[1.0]]])


def test_one_sample_scores_as_a_point() -> None:
    assert float(crps_samples([3.0], [[1.0]])) == 2
    assert float(energy_score([[3.0, 4.0]], [[[0.0, 0.0]]])) == 5


def test_energy_scores_need_outputs() -> None:
    with pytest.raises(ValueError, match="y: expected "):
        energy_score(1.0, [1.0, 2.0])


@pytest.mark.parametrize("score", [crps_samples, fair_crps_samples])
def test_one_number_is_no_row_of_samples(score: Score) -> None:
    with pytest.raises(ValueError, match=r"samples: expected the shape \(members\), .* got \(\)"):
        score(0.0, 1.0)


@pytest.mark.parametrize("score", ALL)
def test_the_wider_dtype_counts_and_y_says_the_device(score: Score, device: str) -> None:
    y, samples = torch.zeros(3, 2, device=device), torch.ones(4, 3, 2)
    for a, b in ((y, samples.double()), (y.double(), samples)):
        assert (score(a, b).dtype, score(a, b).device.type) == (torch.float64, device)
    assert score(y, samples).dtype == torch.float32
    y, samples = np.array([[0.1]], dtype=np.float32), np.full((2, 1, 1), float(np.float32(0.1)))
    assert float(score(y, samples)) == 0
