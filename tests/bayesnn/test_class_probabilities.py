"""Probabilities of classes: the split of the entropy, draws, labels, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bayesnn import ClassProbabilities
from bayesnn.seeds import seeded_generator


def _members(m: int, n: int, c: int, scale: float = 2.0, seed: int = 0) -> Tensor:
    scores = torch.randn(m, n, c, dtype=torch.float64, generator=seeded_generator(seed))
    return (scale * scores).softmax(-1)


def _naive_entropy(p: np.ndarray) -> float:
    return -sum(float(v) * math.log(v) for v in p if v > 0)


@given(
    st.integers(2, 5), st.integers(1, 4), st.integers(2, 5), st.floats(0.0, 40.0), st.integers(0, 9)
)
def test_entropies_are_those_of_their_definition(
    m: int, n: int, c: int, scale: float, seed: int
) -> None:
    members = _members(m, n, c, scale, seed)
    post = ClassProbabilities.from_members(members)
    table = members.numpy()
    for i in range(n):
        total = _naive_entropy(table[:, i].mean(0))
        noise = np.mean([_naive_entropy(one[i]) for one in table])
        assert float(post.noise_entropy[i]) == pytest.approx(noise, abs=1e-12)
        assert float(post.total_entropy[i]) == pytest.approx(total, abs=1e-12)
        assert float(post.epistemic_entropy[i]) == pytest.approx(total - noise, abs=1e-12)
    assert bool((post.epistemic_entropy >= 0).all())
    torch.testing.assert_close(post.probabilities, members.mean(0))


def test_small_disagreement_is_not_lost_in_rounding() -> None:
    """For p(1 ± d) the mutual information is d²/2 per unit of p, to first order."""
    d = 1e-5
    p = torch.tensor([0.5, 0.5])
    tilt = d * torch.tensor([1.0, -1.0])
    members = torch.stack([(p * (1 + tilt)), (p * (1 - tilt))]).unsqueeze(1)
    found = ClassProbabilities.from_members(members).epistemic_entropy
    assert float(found) == pytest.approx(d**2 / 2, rel=0.02)


@pytest.mark.parametrize(
    ("d", "dtype", "rtol"), [(2.0**-16, torch.float32, 1e-4), (0.0095, torch.float64, 5e-8)]
)
def test_the_divergence_of_members_near_their_mean(
    d: float, dtype: torch.dtype, rtol: float
) -> None:
    """Against its definition in float64; differences of logarithms lose digits in float32."""
    mean = torch.tensor([0.25, 0.75], dtype=torch.float64)
    tilt = torch.tensor([2 * d, -d, -d], dtype=torch.float64).unsqueeze(1)
    parts = torch.cat((tilt, -tilt / 3), dim=1)
    expected = (mean * ((1 + parts) * parts.log1p() - parts)).sum() / 3
    members = (mean * (1 + parts)).unsqueeze(1).to(dtype)
    found = ClassProbabilities.from_members(members).epistemic_entropy
    assert float(found) == pytest.approx(float(expected), rel=rtol)


def test_a_class_that_no_member_believes_in_adds_nothing() -> None:
    two = _members(4, 3, 2)
    three = torch.cat((two, torch.zeros(4, 3, 1, dtype=torch.float64)), dim=-1)
    found, expected = (ClassProbabilities.from_members(one) for one in (three, two))
    torch.testing.assert_close(found.epistemic_entropy, expected.epistemic_entropy)
    torch.testing.assert_close(found.total_entropy, expected.total_entropy)


def test_sums_that_rounding_leaves_beside_1_are_made_1() -> None:
    members = torch.full((2, 50, 4), 0.25 * (1 - 9e-4), dtype=torch.float64)
    post = ClassProbabilities.from_members(members, keep_members=True)
    sums = post.probabilities.sum(-1)
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-15)
    assert int(post.sample(1000).max()) == 3


def test_members_that_agree_leave_noise_alone_and_sure_members_leave_none() -> None:
    same = _members(1, 4, 3).expand(6, -1, -1)
    agreeing = ClassProbabilities.from_members(same)
    assert float(agreeing.epistemic_entropy.max()) < 1e-15
    sure = torch.eye(3).unsqueeze(1)  # three members, each sure of another class
    post = ClassProbabilities.from_members(sure)
    torch.testing.assert_close(post.epistemic_entropy, torch.tensor([math.log(3)]))
    assert float(post.noise_entropy) == 0


def test_one_member_has_entropy_but_no_epistemic_one() -> None:
    post = ClassProbabilities.from_members(_members(1, 4, 3))
    assert torch.equal(post.total_entropy, post.noise_entropy)
    with pytest.raises(ValueError, match="one member"):
        _ = post.epistemic_entropy


@pytest.mark.parametrize("keep_members", [False, True])
def test_draws_have_the_probabilities(keep_members: bool) -> None:
    """Frequencies agree to 5 standard errors."""
    n = 20_000
    post = ClassProbabilities.from_members(_members(3, 4, 3), keep_members=keep_members)
    drawn = post.sample(n, seed=1)
    assert drawn.shape == (n, 4)
    for c in range(3):
        p = post.probabilities[:, c]
        frequency = (drawn == c).double().mean(0)
        assert bool(((frequency - p).abs() < 5 * (p * (1 - p) / n).sqrt()).all())
    assert torch.equal(drawn, post.sample(n, seed=1))


def test_points_of_one_draw_come_from_one_member() -> None:
    members = torch.eye(2).unsqueeze(1).expand(-1, 5, -1)  # each sure of one class, everywhere
    joint = ClassProbabilities.from_members(members, keep_members=True).sample(50)
    assert bool((joint == joint[:, :1]).all())
    assert 0 < int(joint[:, 0].sum()) < 50
    single = ClassProbabilities.from_members(members).sample(50)
    assert not bool((single == single[:, :1]).all())


@pytest.mark.parametrize("classes", [["dog", "cat", "ant"], [7, -2, 3], None])
def test_log_probabilities_by_label(classes: list[object] | None) -> None:
    post = ClassProbabilities.from_members(_members(2, 3, 3), classes=classes)
    labels = [2, 0, 1] if classes is None else [classes[2], classes[0], classes[1]]
    expected = post.probabilities[[0, 1, 2], [2, 0, 1]].log()
    assert torch.equal(post.log_prob(labels), expected)
    with pytest.raises(ValueError, match="expected classes among"):
        post.log_prob(["emu", "cat", "ant"] if classes and classes[0] == "dog" else [9, 9, 9])
    with pytest.raises(ValueError, match="expected 3 classes"):
        post.log_prob(labels[:2])


def test_members_are_kept_on_request_alone() -> None:
    members = _members(2, 3, 4)
    assert ClassProbabilities.from_members(members).members is None
    kept = ClassProbabilities.from_members(members, keep_members=True).members
    assert kept is not None
    assert torch.equal(kept, members)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"probabilities": torch.tensor([[0.5, 0.6]])}, "probabilities: expected probabilities"),
        ({"probabilities": torch.tensor([[1.5, -0.5]])}, "probabilities: expected probabilities"),
        ({"probabilities": torch.tensor([[torch.nan, 0.5]])}, "probabilities"),
        ({"probabilities": torch.tensor([0.5, 0.5])}, "2 dimensions"),
        ({"noise_entropy": torch.zeros(2)}, "noise_entropy: expected 1 values"),
        ({"noise_entropy": torch.tensor([-0.1])}, "noise_entropy"),
        ({"epistemic_entropy": None}, "epistemic_entropy"),
        ({"members": torch.full((3, 1, 2), 0.5)}, "members: expected shape"),
        ({"classes": ["a"]}, "classes: expected 2 labels"),
        ({"n_members": 0}, "n_members"),
    ],
)
def test_what_does_not_fit_is_refused(changed: dict[str, object], message: str) -> None:
    fitting: dict[str, object] = {
        "probabilities": torch.tensor([[0.5, 0.5]]),
        "noise_entropy": torch.zeros(1),
        "epistemic_entropy": torch.zeros(1),
        "n_members": 2,
    }
    with pytest.raises(ValueError, match=message):
        ClassProbabilities(**(fitting | changed))
