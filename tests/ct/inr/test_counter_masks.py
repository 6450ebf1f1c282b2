"""Masks from counters: their share, and that nothing hangs together with anything else."""

from __future__ import annotations

import pytest
import torch

from ct.inr.counter_masks import draw_keys, keep_mask

N = 2**18


def _keys(n: int = 2) -> torch.Tensor:
    return draw_keys(n, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.9])
def test_the_share_that_is_lost_is_the_rate(rate: float) -> None:
    lost = 1 - keep_mask(_keys()[0], torch.arange(N), rate).double().mean()
    assert float((lost - rate).abs()) <= 4 * (rate * (1 - rate) / N) ** 0.5


@pytest.mark.parametrize("shift", [1, 2, 7, 16, 280, 288, 4096])
def test_neighbours_are_independent(shift: int) -> None:
    kept = keep_mask(_keys()[0], torch.arange(N), 0.5).double() - 0.5
    assert abs(float((kept[shift:] * kept[:-shift]).mean())) <= 4 * 0.25 / N**0.5


def test_masks_of_different_keys_are_independent_at_any_shift() -> None:
    masks = [keep_mask(key, torch.arange(N), 0.5).double() - 0.5 for key in _keys(8)]
    for index, first in enumerate(masks):
        for second in masks[:index]:
            for shift in (0, 1, 288):
                both = (first[shift:] * second[: N - shift]).mean()
                assert abs(float(both)) <= 5 * 0.25 / N**0.5


def test_blocks_of_units_have_binomial_counts() -> None:
    kept = keep_mask(_keys()[0], torch.arange(N), 0.2).reshape(-1, 64).double().sum(1)
    variance = 64 * 0.2 * 0.8
    assert abs(float(kept.var()) / variance - 1) <= 5 * (2 / len(kept)) ** 0.5


def test_devices_agree(device: str) -> None:
    keys, counters = _keys().to(device), torch.arange(5000, device=device)
    found = keep_mask(keys[1], counters, 0.3).cpu()
    assert torch.equal(found, keep_mask(keys[1].cpu(), counters.cpu(), 0.3))


def test_counters_count_modulo_their_word() -> None:
    counters = torch.arange(100)
    key = _keys()[0]
    assert torch.equal(keep_mask(key, counters, 0.5), keep_mask(key, counters + 2**32, 0.5))
