"""Telling points from outside: scikit-learn's figures, pairs, ties, perfect and useless scores."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from torch import Tensor

from bayesnn.calibration import ood_aupr_in, ood_aupr_out, ood_auroc, ood_fpr_at_tpr
from tests.reference.naive_calibration import false_alarms, pairs_in_order

FIGURES = [ood_auroc, ood_aupr_in, ood_aupr_out, ood_fpr_at_tpr]
seeds, sizes, digits = st.integers(0, 10_000), st.integers(1, 40), st.sampled_from([0, 12])


def scores(seed: int, n_in: int, n_out: int, digits: int) -> tuple[NDArray, NDArray]:
    """Return scores that overlap; with no digits kept, many are equal."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=n_in).round(digits), (1 + rng.normal(size=n_out)).round(digits)


@given(seed=seeds, n_in=sizes, n_out=sizes, digits=digits)
def test_figures_are_scikit_learns(seed: int, n_in: int, n_out: int, digits: int) -> None:
    inside, outside = scores(seed, n_in, n_out, digits)
    both, label = np.concatenate([inside, outside]), np.repeat([0, 1], [n_in, n_out])
    assert float(ood_auroc(inside, outside)) == pytest.approx(roc_auc_score(label, both), abs=1e-9)
    out = average_precision_score(label, both)
    assert float(ood_aupr_out(inside, outside)) == pytest.approx(out, abs=1e-9)
    kept = average_precision_score(1 - label, -both)
    assert float(ood_aupr_in(inside, outside)) == pytest.approx(kept, abs=1e-9)
    fpr, tpr, _ = roc_curve(label, both, drop_intermediate=False)
    for share in (0.95, 0.8, 1.0):
        want = fpr[np.argmax(tpr >= share - 1e-9)]
        assert float(ood_fpr_at_tpr(inside, outside, tpr=share)) == pytest.approx(want, abs=1e-9)


@given(seed=seeds, n_in=sizes, n_out=sizes, digits=digits, tpr=st.floats(0.05, 1))
def test_figures_are_their_definitions(
    seed: int, n_in: int, n_out: int, digits: int, tpr: float
) -> None:
    inside, outside = scores(seed, n_in, n_out, digits)
    want = pairs_in_order(inside, outside)
    assert float(ood_auroc(inside, outside)) == pytest.approx(want, abs=1e-12)
    want = false_alarms(inside, outside, tpr)
    assert float(ood_fpr_at_tpr(inside, outside, tpr=tpr)) == pytest.approx(want, abs=1e-12)


@given(seed=seeds, n_in=sizes, n_out=sizes, digits=digits)
def test_only_the_order_of_the_scores_counts(seed: int, n_in: int, n_out: int, digits: int) -> None:
    inside, outside = scores(seed, n_in, n_out, digits)
    rng = np.random.default_rng(seed)
    for figure in FIGURES:
        want = float(figure(inside, outside))
        got = float(figure(rng.permutation(np.exp(inside)), rng.permutation(np.exp(outside))))
        assert got == want
        assert 0 <= got <= 1
    turned = float(ood_auroc(outside, inside))
    assert float(ood_auroc(inside, outside)) == pytest.approx(1 - turned, abs=1e-12)
    turned = float(ood_aupr_out(-outside, -inside))
    assert float(ood_aupr_in(inside, outside)) == pytest.approx(turned, abs=1e-12)


def test_perfect_useless_and_wrong_scores() -> None:
    low, high = np.arange(10.0), np.arange(10.0, 40.0)
    assert [float(f(low, high)) for f in FIGURES] == [1, 1, 1, 0]
    assert float(ood_auroc(high, low)) == 0
    assert float(ood_fpr_at_tpr(high, low)) == 1
    even = [float(f(np.zeros(10), np.zeros(30))) for f in FIGURES]
    assert even == pytest.approx([0.5, 0.25, 0.75, 1])


def test_exactly_95_of_100_are_enough() -> None:
    """0.95 · 100 is 95 whatever its last bit, and 0.95 · 20 is 19."""
    for n in (20, 100, 1000):
        outside = np.concatenate([np.zeros(n // 20), np.full(n - n // 20, 2.0)])
        assert float(ood_fpr_at_tpr([1.0], outside)) == 0
        assert float(ood_fpr_at_tpr([1.0], outside, tpr=0.951)) == 1


def test_rounding_of_a_share_flags_no_further_point() -> None:
    """0.28 · 50 is 14.000000000000002 in floating point."""
    outside = [float(k) for k in range(50)]
    assert float(ood_fpr_at_tpr([35.5], outside, tpr=0.28)) == 0  # the fourteenth largest is 36
    assert float(ood_fpr_at_tpr([35.5], outside, tpr=0.29)) == 1


def test_many_points_are_counted_without_overflow_or_loss() -> None:
    n = 70_000  # n² is no int32
    inside, outside = torch.zeros(n), torch.cat([torch.ones(n - 1), -torch.ones(1)])
    assert float(ood_auroc(inside.double(), outside.double())) == pytest.approx(
        1 - 1 / n, abs=1e-12
    )


@pytest.mark.parametrize("figure", FIGURES)
def test_input_of_any_kind(figure: Callable[..., Tensor], device: str) -> None:
    inside, outside = np.array([0, 1, 3]), np.array([2, 3, 4, 4])
    want = float(figure(inside, outside))
    for kind in (torch.float16, torch.float32, torch.int64):
        got = figure(torch.tensor(inside, dtype=kind, device=device), torch.tensor(outside))
        assert float(got) == pytest.approx(want, abs=1e-6)
        assert got.device.type == device
    table = torch.stack([torch.tensor([0.0, 1.0, 3.0])] * 2, 1)
    assert float(figure(table[:, 0], table[:, 1])) == float(
        figure([0.0, 1.0, 3.0], [0.0, 1.0, 3.0])
    )


@pytest.mark.parametrize("figure", FIGURES)
def test_what_does_not_fit_is_refused(figure: Callable[..., Tensor]) -> None:
    with pytest.raises(ValueError, match="inside: expected 1 dimensions"):
        figure([[0.0]], [1.0])
    with pytest.raises(ValueError, match="outside: expected at least one"):
        figure([0.0], [])
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="outside: expected finite"):
            figure([0.0], [bad])
    for tpr in (0.0, 1.5, 95):
        with pytest.raises(ValueError, match="tpr: expected a share"):
            ood_fpr_at_tpr([0.0], [1.0], tpr=tpr)
