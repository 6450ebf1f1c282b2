"""Stripes of every kind shrink by a stated factor, and a sinogram without them hardly changes."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import ct
from bayesnn.seeds import seeded_generator
from ct.artefacts.detector_windows import bridged, running_median
from ct.artefacts.stripes import broken_bins
from tests.reference.ellipses import line_integrals, random_ellipses, with_noise

N, VIEWS = 240, 150
SCAN = ct.ParallelBeam([math.pi * k / VIEWS for k in range(VIEWS)], N)
SEEDS = st.integers(0, 10**6)


def measured(seed: int) -> tuple[Tensor, float]:
    return with_noise(line_integrals(random_ellipses(seed, radius=95), SCAN), snr_db=40, seed=seed)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=seeded_generator(seed, 3), dtype=torch.float64)


def chosen(seed: int, count: int) -> Tensor:
    return torch.randperm(N, generator=seeded_generator(seed, 4))[:count]


def on_every_bin(seed: int) -> Tensor:
    return 3 * normal(seed, N).expand(VIEWS, N)


def strong_on_a_few(seed: int) -> Tensor:
    stripes = torch.zeros(VIEWS, N, dtype=torch.float64)
    stripes[:, chosen(seed, 8)] = 20 * normal(seed, 8)
    return stripes


def along_some_views(seed: int) -> Tensor:
    stripes = torch.zeros(VIEWS, N, dtype=torch.float64)
    stripes[40:95, chosen(seed, 6)] = 25.0
    return stripes


def four_bins_wide(seed: int) -> Tensor:
    stripes = torch.zeros(VIEWS, N, dtype=torch.float64)
    first = 60 + 15 * (seed % 8)
    stripes[:, first : first + 4] = 15.0
    return stripes


def rms(difference: Tensor) -> float:
    return float(difference.square().mean().sqrt())


@pytest.mark.parametrize(
    ("kind", "factor"),
    [(on_every_bin, 0.6), (strong_on_a_few, 0.3), (along_some_views, 0.6), (four_bins_wide, 0.5)],
)
def test_stripes_shrink_on_average(kind: Callable[[int], Tensor], factor: float) -> None:
    left = []
    for seed in range(8):
        noisy, std = measured(seed)
        stripes = std * kind(seed)
        left.append(rms(ct.remove_stripes(noisy + stripes) - noisy) / rms(stripes))
    assert sum(left) / 8 < factor
    assert max(left) < 1.0


@settings(max_examples=10)
@given(seed=SEEDS)
def test_a_sinogram_without_stripes_hardly_changes(seed: int) -> None:
    noisy, std = measured(seed)
    assert rms(ct.remove_stripes(noisy) - noisy) < 0.4 * std


@settings(max_examples=6)
@given(seed=SEEDS)
def test_dead_and_restless_bins_are_bridged(seed: int) -> None:
    noisy, std = measured(seed)
    broken = noisy.clone()
    broken[:, 90] = 0.0
    broken[:, 151] += 60 * std * normal(seed, VIEWS)
    assert broken_bins(broken[None]).nonzero()[:, 1].tolist() == [90, 151]
    cleaned = ct.remove_stripes(broken)
    bins = [90, 151]
    assert rms((cleaned - noisy)[:, bins]) < 0.15 * rms((broken - noisy)[:, bins])


def test_slices_do_not_see_one_another_and_keep_their_dtype() -> None:
    stack = torch.stack([measured(seed)[0] + 5 * on_every_bin(seed) for seed in (0, 1)]).float()
    together = ct.remove_stripes(stack)
    assert together.dtype == torch.float32
    for one, alone in zip(together, stack, strict=True):
        assert torch.equal(one, ct.remove_stripes(alone))


def test_what_is_too_small_for_neighbours_is_left_alone() -> None:
    assert ct.remove_stripes(torch.ones(2, 5)).tolist() == torch.ones(2, 5).tolist()


def test_running_median_and_bridge_by_hand() -> None:
    row = torch.tensor([[5.0, 1.0, 4.0, 2.0, 3.0]])
    assert running_median(row, 3).tolist() == [[5.0, 4.0, 2.0, 3.0, 3.0]]
    row = torch.tensor([[[9.0, 2.0, 9.0, 9.0, 8.0]]])
    broken = torch.tensor([[True, False, True, True, False]])
    assert bridged(row, broken)[0, 0].tolist() == [2.0, 2.0, 4.0, 6.0, 8.0]
    assert torch.equal(bridged(row, torch.ones_like(broken)), row)


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="odd number of bins"):
        ct.remove_stripes(torch.ones(5, 5), window=4)
    with pytest.raises(ValueError, match="threshold"):
        ct.remove_stripes(torch.ones(5, 5), threshold=0.0)
