"""Entropies of members' class probabilities, and their variance."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bayesnn.calibration import epistemic_variance, mutual_information, predictive_entropy
from tests.reference.naive_calibration import entropy

shapes = {
    "seed": st.integers(0, 10_000), "m": st.integers(2, 5), "n": st.integers(1, 6),
    "classes": st.integers(2, 5),
}  # fmt: skip


@given(**shapes)
def test_entropies_are_their_definitions(seed: int, m: int, n: int, classes: int) -> None:
    members = np.random.default_rng(seed).dirichlet(np.full(classes, 0.3), (m, n))
    total = predictive_entropy(members)
    model = mutual_information(members)
    for i in range(n):
        want = entropy(members[:, i].mean(0))
        assert float(total[i]) == pytest.approx(want, abs=1e-9)
        noise = np.mean([entropy(p) for p in members[:, i]])
        assert float(model[i]) == pytest.approx(want - noise, abs=1e-9)


@given(**shapes)
def test_bounds_and_order(seed: int, m: int, n: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    members = rng.dirichlet(np.full(classes, 0.1), (m, n))
    total, model = predictive_entropy(members), mutual_information(members)
    assert bool((total <= math.log(classes) + 1e-9).all())
    assert bool((model >= 0).all())
    assert bool((model <= torch.clamp(total, max=math.log(min(m, classes))) + 1e-9).all())
    shuffled = members[rng.permutation(m)][..., rng.permutation(classes)]
    torch.testing.assert_close(predictive_entropy(shuffled), total)
    torch.testing.assert_close(mutual_information(shuffled), model)


def test_small_disagreement_is_not_lost_in_float32() -> None:
    apart = 1e-4
    members = torch.tensor([[[0.5 + apart, 0.5 - apart]], [[0.5 - apart, 0.5 + apart]]])
    assert float(mutual_information(members)) == pytest.approx(2 * apart**2, rel=1e-2)
    assert float(mutual_information(members[:1].repeat(3, 1, 1))) == 0


def test_one_member_has_an_entropy_and_no_dispute() -> None:
    one = np.array([[[0.25, 0.75]]])
    assert float(predictive_entropy(one)) == pytest.approx(entropy(one[0, 0]))
    for figure in (mutual_information, epistemic_variance):
        with pytest.raises(ValueError, match="members: expected at least 2, got 1"):
            figure(one)


def test_chunks_change_nothing() -> None:
    members = np.random.default_rng(0).dirichlet(np.ones(4), (3, 7))
    for figure in (predictive_entropy, mutual_information):
        whole = figure(members)
        for budget in (1, 8 * 3 * 4 * 8 * 2):
            torch.testing.assert_close(figure(members, memory_budget=budget), whole)


@given(**shapes)
def test_variance_is_that_of_the_members(seed: int, m: int, n: int, classes: int) -> None:
    members = 1e3 + np.random.default_rng(seed).normal(size=(m, n, classes))
    want = members.var(0, ddof=1)
    np.testing.assert_allclose(epistemic_variance(members), want, rtol=1e-9)
    np.testing.assert_allclose(epistemic_variance(members[..., 0]), want[:, 0], rtol=1e-9)


def test_variance_keeps_its_digits_where_the_mean_is_large() -> None:
    members = torch.tensor([[1e6], [1e6 + 2]])
    assert float(epistemic_variance(members)) == 2


def test_device_and_dtype_follow_the_members(device: str) -> None:
    members = torch.full((2, 3, 4), 0.25, device=device)
    for figure in (predictive_entropy, mutual_information, epistemic_variance):
        found = figure(members)
        assert (found.device.type, found.dtype) == (device, torch.float32)
        assert figure(members.half()).dtype == torch.float32


def test_what_does_not_fit_is_refused() -> None:
    members = np.full((2, 3, 4), 0.25)
    for figure in (predictive_entropy, mutual_information):
        with pytest.raises(ValueError, match="members: expected 3 dimensions"):
            figure(members[0])
        with pytest.raises(ValueError, match="expected values of at least 0 in rows that sum to 1"):
            figure(3 * members)
        with pytest.raises(ValueError, match="members: expected finite"):
            figure(members * math.nan)
    with pytest.raises(ValueError, match="members: expected finite"):
        epistemic_variance(members * math.inf)
