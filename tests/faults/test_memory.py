"""A memory budget is kept, as the system counts memory; `benchmarks/memory_budget.py` has more."""

from __future__ import annotations

import sys

import pytest
import torch

from ensembles.memory import MALLOC, tensors_within
from tests.faults.children import ran
from tests.faults.peak_memory import Peaks, peaks
from tests.faults.peak_reconstructions import reconstruction_peak


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/clear_refs")
@pytest.mark.parametrize("kind", ["NTKGP-param, Adam", "NTKGP-param, ten classes"])
def test_fit_and_predict_keep_to_their_budget(kind: str) -> None:
    budget = 2**26
    found: Peaks = ran(peaks, kind, budget, 5_000)[0]
    assert budget / 8 < found.fit <= 1.1 * budget
    assert budget / 8 < found.predict <= 1.1 * budget


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/clear_refs")
@pytest.mark.parametrize("kind", ["jackknife (default)", "infinite-width", "mc-dropout"])
def test_reconstruct_keeps_to_its_budget(kind: str) -> None:
    budget = 2**26
    assert budget / 8 < ran(reconstruction_peak, kind, budget)[0] <= 1.1 * budget


def test_on_a_cpu_the_allocator_has_its_share() -> None:
    assert tensors_within(None, torch.device("cpu")) is None
    assert tensors_within(1000, torch.device("cpu")) == int(1000 / MALLOC)
    assert tensors_within(1, torch.device("cpu")) == 1
    assert tensors_within(1000, torch.device("cuda")) == 1000
