"""Rows of steps: every row once an epoch, in orders that the seed and the epoch decide."""

from __future__ import annotations

import pytest
import torch

from ensembles.trainers.batches import Batches

CPU = torch.device("cpu")


def test_an_epoch_sees_every_row_once_but_for_the_rest() -> None:
    batches = Batches(23, 5, 7, CPU)
    epochs = [torch.cat([batches.rows(4 * e + i) for i in range(4)]) for e in range(3)]
    for rows in epochs:
        assert len(rows) == len(set(rows.tolist())) == 20
    assert not torch.equal(epochs[0], epochs[1])
    left_out = [set(range(23)) - set(rows.tolist()) for rows in epochs]
    assert left_out[0] != left_out[1] or left_out[1] != left_out[2]


def test_any_step_can_be_the_first() -> None:
    whole = Batches(23, 5, 7, CPU)
    expected = [whole.rows(step).clone() for step in range(11)]
    for step in (10, 3, 7):
        assert torch.equal(Batches(23, 5, 7, CPU).rows(step), expected[step])
    assert not torch.equal(Batches(23, 5, 8, CPU).rows(3), expected[3])


@pytest.mark.parametrize(("size", "full"), [(23, True), (24, True), (22, False)])
def test_a_batch_of_all_rows_is_no_batch(size: int, full: bool) -> None:
    assert Batches(23, size, 0, CPU).full is full
