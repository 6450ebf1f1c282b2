"""The fit of a temperature against its definition, and which rows are held out for it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bayesnn.seeds import seeded_generator
from ensembles.temperature import HIGHEST, LOWEST, fit_temperature, held_out_rows

F64 = torch.float64


def _scores(m: int, n: int, c: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return members' scores, and classes that they make more probable."""
    generator = seeded_generator(seed)
    scores = 2 * torch.randn(1, n, c, generator=generator, dtype=F64)
    scores = scores + torch.randn(m, n, c, generator=generator, dtype=F64)
    drawn = torch.multinomial((0.5 * scores.mean(0)).softmax(-1), 1, generator=generator)
    return scores, torch.nn.functional.one_hot(drawn.squeeze(1), c).to(F64)


def _cost(log_t: float, scores: Tensor, one_hot: Tensor, weight: Tensor) -> float:
    """The definition: probabilities are averaged, weights have mean 1, log T is normal."""
    p = (scores / math.exp(log_t)).softmax(-1).mean(0)
    return float(0.5 * log_t**2 - (weight / weight.mean() * (p * one_hot).sum(-1).log()).sum())


@given(m=st.integers(1, 4), n=st.integers(2, 40), seed=st.integers(0, 50))
def test_the_temperature_is_that_of_least_cost(m: int, n: int, seed: int) -> None:
    """No other on a fine grid costs less, by more than the grid's width allows."""
    scores, one_hot = _scores(m, n, 3, seed)
    weight = 5 * torch.rand(n, generator=seeded_generator(seed, 1), dtype=F64) + 0.1
    found = math.log(fit_temperature(scores, one_hot, row_weight=weight))
    grid = torch.linspace(math.log(LOWEST), math.log(HIGHEST), 2001, dtype=F64).tolist()
    best = min(grid, key=lambda log_t: _cost(log_t, scores, one_hot, weight))
    assert found == pytest.approx(best, abs=0.01)


def test_weights_count_by_their_ratios_and_stand_for_repeated_rows() -> None:
    scores, one_hot = _scores(2, 30, 3)
    weight = torch.ones(30, dtype=F64)
    weight[:10] = 2
    once = fit_temperature(scores, one_hot, row_weight=weight)
    assert fit_temperature(scores, one_hot, row_weight=100 * weight) == once
    # the same rows again, at weights that make both sums of weights the same
    twice = fit_temperature(
        torch.cat((scores, scores[:, :10]), dim=1),
        torch.cat((one_hot, one_hot[:10])),
        row_weight=torch.cat((torch.ones(30, dtype=F64), torch.ones(10, dtype=F64))),
    )
    assert math.log(twice) == pytest.approx(math.log(once), abs=0.05)
    assert fit_temperature(scores, one_hot) != once


def test_rows_that_are_all_right_do_not_ask_for_0() -> None:
    """The prior stops it where a row more would: the cost is least where its slope is 0."""
    one_hot = torch.eye(2, dtype=F64)
    found = fit_temperature(10 * one_hot.unsqueeze(0), one_hot)
    assert found > 2 * LOWEST
    # d/dlogT of 2 log(1 + exp(−10/T)) + ½ (log T)²
    slope = 2 * 10 / found / (1 + math.exp(10 / found)) + math.log(found)
    assert abs(slope) < 1e-2


@pytest.mark.parametrize("counts", [[7, 50], [99, 23, 4], [10_000, 40_000]])
def test_a_fifth_of_each_class_is_held_out_up_to_5000_rows(counts: list[int]) -> None:
    codes = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    mask = held_out_rows(codes, seed=1)
    assert mask is not None
    part = min(0.2, 5000 / len(codes))
    assert [int(mask[codes == c].sum()) for c in range(len(counts))] == [
        math.floor(part * n) for n in counts
    ]
    again, other = held_out_rows(codes, seed=1), held_out_rows(codes, seed=2)
    assert again is not None
    assert other is not None
    assert torch.equal(mask, again)
    assert not torch.equal(mask, other)


def test_too_few_rows_are_not_held_out() -> None:
    assert held_out_rows(torch.arange(9).repeat(5), seed=0) is None  # one of each of nine classes
    assert held_out_rows(torch.arange(10).repeat(5), seed=0) is not None
