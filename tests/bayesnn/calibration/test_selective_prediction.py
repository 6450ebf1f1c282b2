"""Risk and coverage: definitions with ties, best and useless orders, edges."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bayesnn.calibration import accuracy_at_coverage, aurc, excess_aurc, risk_coverage_curve
from tests.reference.naive_calibration import risks

seeds, sizes, digits = st.integers(0, 10_000), st.integers(1, 30), st.sampled_from([0, 12])


def answers(seed: int, n: int, digits: int) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2, n).astype(float), rng.normal(size=n).round(digits)


@given(seed=seeds, n=sizes, digits=digits)
def test_the_curve_is_its_definition(seed: int, n: int, digits: int) -> None:
    wrong, doubt = answers(seed, n, digits)
    curve = risk_coverage_curve(wrong, doubt)
    want = risks(wrong, doubt)
    assert curve.risk.tolist() == pytest.approx(want, abs=1e-12)
    assert curve.coverage.tolist() == pytest.approx([k / n for k in range(1, n + 1)])
    assert float(aurc(wrong, doubt)) == pytest.approx(np.mean(want), abs=1e-12)
    for coverage in (0.01, 0.5, 0.9, 1.0):
        answered = math.ceil(coverage * n - 1e-9)
        got = float(accuracy_at_coverage(1 - wrong, doubt, coverage))
        assert got == pytest.approx(1 - want[answered - 1], abs=1e-12)


def test_ties_count_as_all_their_orders_do_on_average() -> None:
    losses, doubt = np.array([3.0, 0.0, 1.0, 7.0]), np.array([1.0, 1.0, 0.0, 1.0])
    orders = [[1.0, *order] for order in permutations([3.0, 0.0, 7.0])]
    want = np.mean([np.cumsum(order) / np.arange(1, 5) for order in orders], 0)
    assert risk_coverage_curve(losses, doubt).risk.tolist() == pytest.approx(want.tolist())


@given(seed=seeds, n=st.integers(1, 6))
def test_no_order_is_better_than_that_of_the_losses(seed: int, n: int) -> None:
    losses = np.random.default_rng(seed).exponential(size=n).round(1)
    areas = [float(aurc(losses[list(order)], np.arange(n))) for order in permutations(range(n))]
    best = float(aurc(losses, losses))
    assert best == pytest.approx(min(areas), abs=1e-12)
    assert float(excess_aurc(losses, losses**3)) == 0
    worst = float(excess_aurc(losses, -losses))
    assert worst == pytest.approx(max(areas) - min(areas), abs=1e-12)


@given(seed=seeds, n=sizes, digits=digits)
def test_laws(seed: int, n: int, digits: int) -> None:
    wrong, doubt = answers(seed, n, digits)
    order = np.random.default_rng(seed).permutation(n)
    curve = risk_coverage_curve(wrong, doubt)
    for same in (risk_coverage_curve(wrong[order], doubt[order]),
                 risk_coverage_curve(wrong, np.exp(doubt))):  # fmt: skip
        assert same.risk.tolist() == pytest.approx(curve.risk.tolist(), abs=1e-12)
    assert float(curve.risk[-1]) == pytest.approx(wrong.mean())
    assert float(aurc(wrong, np.zeros(n))) == pytest.approx(wrong.mean())
    assert float(aurc(5 * wrong, doubt)) == pytest.approx(5 * float(aurc(wrong, doubt)))
    assert 0 <= float(excess_aurc(wrong, doubt)) <= float(aurc(wrong, doubt)) + 1e-12


def test_a_known_ranking() -> None:
    """A classifier that is unsure exactly where it errs is right on all else."""
    correct = torch.tensor([True] * 8 + [False] * 2)
    doubt = torch.linspace(0, 1, 10)
    assert float(accuracy_at_coverage(correct, doubt, 0.8)) == 1
    assert float(accuracy_at_coverage(correct, doubt, 1)) == pytest.approx(0.8)
    assert float(accuracy_at_coverage(correct, -doubt, 0.2)) == 0
    area = (1 / 9 + 2 / 10) / 10
    assert float(aurc(~correct, doubt)) == pytest.approx(area)
    assert float(excess_aurc(~correct, doubt)) == pytest.approx(0, abs=1e-9)


def test_rounding_of_a_coverage_answers_no_further_point() -> None:
    """0.28 · 50 is 14.000000000000002 in floating point."""
    right = [1.0] * 14 + [0.0] * 36
    assert float(accuracy_at_coverage(right, range(50), 0.28)) == 1
    assert float(accuracy_at_coverage(right, range(50), 0.29)) == pytest.approx(14 / 15)


def test_device_and_dtype_follow_the_losses(device: str) -> None:
    losses = torch.tensor([0.0, 1.0], device=device)
    curve = risk_coverage_curve(losses, np.array([0.0, 1.0]))
    for found in (curve.risk, curve.coverage, aurc(losses, [1, 0]), excess_aurc(losses, [1, 0])):
        assert found.device.type == device
        assert found.dtype == torch.float32


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="uncertainty: expected 2 values, one a point of losses"):
        aurc([0.0, 1.0], [1.0])
    with pytest.raises(ValueError, match="losses: expected finite"):
        excess_aurc([math.nan], [1.0])
    with pytest.raises(ValueError, match="uncertainty: expected finite"):
        risk_coverage_curve([1.0], [math.inf])
    with pytest.raises(ValueError, match="losses: expected 1 dimensions"):
        aurc([[1.0]], [[1.0]])
    with pytest.raises(ValueError, match="correct: expected truth values"):
        accuracy_at_coverage([2.0], [1.0], 0.5)
    for coverage in (0.0, 1.1, 90):
        with pytest.raises(ValueError, match="coverage: expected a share"):
            accuracy_at_coverage([1.0], [1.0], coverage)
