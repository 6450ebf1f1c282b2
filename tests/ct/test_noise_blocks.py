"""The noise of a slice is the same whether all of it is held at once or some views of it."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bayesnn.seeds import seeded_generator
from ct import noise_corner, noise_rows, streamed_median
from ct.description import describe_file
from ct.noise_corner import noise_from_empty_corner
from ct.noise_differences import noise_from_differences
from tests.faults.children import ran
from tests.faults.peak_memory import peak_of
from tests.reference.naive_noise import noise_from_all_differences, noise_from_whole_transform

SHAPES = [(60, 91), (61, 90), (300, 41), (40, 1000)]


def _rays(shape: tuple[int, int], *, uneven: bool) -> tuple[Tensor, Tensor | None]:
    """Return rays, a few of them zero, and of which noise they are where it is uneven."""
    generator = seeded_generator(1, *shape)
    values = 5 + torch.randn(shape, generator=generator)
    values[3, 7:9] = 0
    if not uneven:
        return values, None
    relative = 0.5 + torch.rand(shape, generator=generator)
    relative[torch.rand(shape, generator=generator) < 0.02] = math.inf
    return values, relative


def _variance(values: Tensor, relative: Tensor | None) -> Tensor:
    known = torch.ones_like(values) if relative is None else relative
    variance = torch.where(known.isfinite(), known.double().square(), math.nan)
    return torch.where(values != 0, variance, math.nan)


@pytest.fixture(params=[False, True], ids=["at once", "in blocks"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        monkeypatch.setattr(noise_rows, "_AT_ONCE", 500)
        monkeypatch.setattr(noise_corner, "_AT_ONCE", 700)
        monkeypatch.setattr(streamed_median, "_FEW", 10)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_all_estimators_are_those_of_the_whole_slice(shape: tuple[int, int], uneven: bool) -> None:
    values, relative = _rays(shape, uneven=uneven)
    variance, rows = _variance(values, relative), noise_rows.noise_rows(values, relative)
    exact = values.double()
    for orders in ((0, 5), (3, 3), (4, 0)):
        whole = noise_from_all_differences(exact, variance, orders)
        assert noise_from_differences(rows, orders) == pytest.approx(whole, rel=1e-13)
    mirrored = torch.cat([exact, exact.flip(1)]), torch.cat([variance, variance.flip(1)])
    for turn, both in (((exact, variance), False), (mirrored, True)):
        whole = noise_from_whole_transform(*turn)
        assert noise_from_empty_corner(rows, mirrored=both) == pytest.approx(whole, rel=1e-12)
    assert rows.usual_variance() == float(variance.nanmedian())


@pytest.mark.parametrize(
    "numbers",
    [
        torch.randn(1001, generator=seeded_generator(0)).double().abs(),
        torch.tensor([2.0] * 500 + [1.0] * 499).double(),  # many equal ones
        torch.linspace(1, 1 + 1e-13, 700, dtype=torch.float64),  # which differ in the last bits
        torch.tensor([0.0, 5e-324, 1e300, math.inf], dtype=torch.float64),
        torch.tensor([4.0]).double(),
    ],
)
def test_the_median_is_exact(numbers: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed_median, "_FEW", 3)
    found = streamed_median.streamed_median(lambda: numbers.split(7), at_most=len(numbers))
    assert found == (float(numbers.median()), len(numbers))


def test_no_numbers_have_no_median(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = torch.zeros(0, dtype=torch.float64)
    for few in (0, 10):
        monkeypatch.setattr(streamed_median, "_FEW", few)
        value, n = streamed_median.streamed_median(lambda: [empty], at_most=1)
        assert math.isnan(value)
        assert n == 0


def _described(say: Any, path: Path) -> None:
    small = path.with_name("small.npy")
    np.save(small, np.load(path, mmap_mode="r")[:, :60, :60])
    describe_file(small)  # what is loaded once
    say(peak_of(lambda: describe_file(path)))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/clear_refs")
def test_a_large_slice_is_described_in_a_few_times_its_size(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(5, 1, size=(1, 2900, 2900)).astype(np.float32)
    np.save(tmp_path / "large.npy", values)
    peak = ran(_described, tmp_path / "large.npy")[0]
    assert peak < 6 * values.nbytes
