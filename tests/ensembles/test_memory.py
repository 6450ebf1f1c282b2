"""Peak memory is that of a hand count, and grows with points, members and width alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.func import vmap

from ensembles.memory import bytes_per_point, peak_memory, slices_within


def test_peak_of_a_chain_is_two_neighbours() -> None:
    """Of a → b → c → d, each freed after its use, two live at once; views and inputs are free."""
    x = torch.zeros(1000)

    def chain() -> Tensor:
        y = x.view(10, 100)
        for _ in range(3):
            y = y + 1
        return y

    assert peak_memory(chain) == 2 * 4000
    assert peak_memory(lambda: x[3:].unsqueeze(0)) == 0


def test_what_is_kept_counts_and_what_was_freed_does_not() -> None:
    x = torch.zeros(1000)
    assert peak_memory(lambda: [x + i for i in range(5)]) == 5 * 4000
    assert peak_memory(lambda: [float((x + i)[0]) for i in range(5)]) < 3 * 4000


def test_batched_functions_count_in_full() -> None:
    x = torch.zeros(7, 100)
    assert peak_memory(lambda: vmap(torch.exp)(x)) == 7 * 400


@pytest.mark.parametrize("enough", [1, 10_000, 10**9])
def test_bytes_of_a_point(enough: int) -> None:
    found = bytes_per_point(lambda p: p @ torch.ones(8, 50), torch.zeros(100, 8), enough=enough)
    assert 200 <= found <= 200 + 8 * 50 * 4  # the matrix is made inside and counts in part
    if enough == 10**9:
        assert found == 200 + 8 * 50 * 4 // 64


@given(n=st.integers(0, 50), each=st.integers(1, 9), budget=st.integers(1, 40))
def test_slices_cover_all_points_once(n: int, each: int, budget: int) -> None:
    chunks = list(slices_within(n, each, budget))
    assert [i for chunk in chunks for i in range(n)[chunk]] == list(range(n))
    assert all((c.stop - c.start) * each <= max(budget, each) for c in chunks)
