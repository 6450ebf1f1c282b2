"""Kill −9 at random moments: nothing is half-written, and what goes on ends bit for bit alike."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.faults.children import ran, started
from tests.faults.kept_fits import bits_of_a_fit, fit_killed_in, kept_fit
from tests.faults.whole_files import assert_checkpoint_is_whole


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, float]:
    """The result of a fit that nothing befell, and its seconds."""
    bits, seconds = ran(kept_fit, tmp_path_factory.mktemp("undisturbed"))
    assert bits == bits_of_a_fit()
    return bits, seconds


@pytest.mark.parametrize("moment", random.Random(8).sample(range(5, 95), 4))
def test_a_fit_that_is_killed_goes_on_bit_for_bit(
    moment: int, undisturbed: tuple[str, float], tmp_path: Path
) -> None:
    """Killed in percent of its time, then once more early in what goes on from there."""
    bits, seconds = undisturbed
    for part in (moment / 100, 0.05):
        child = started(kept_fit, tmp_path)
        end = time.monotonic() + part * seconds
        while time.monotonic() < end:
            assert_checkpoint_is_whole(tmp_path)
            time.sleep(0.02)
        child.kill()
        assert_checkpoint_is_whole(tmp_path)
    assert ran(kept_fit, tmp_path)[0] == bits
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".lock", *(f"members-{which}.safetensors" for which in ("0-1", "2-3", "4-4"))
    ]  # fmt: skip


def test_a_fit_that_is_killed_in_a_file_operation_goes_on_bit_for_bit(
    undisturbed: tuple[str, float], tmp_path: Path
) -> None:
    """Between and within all kinds of operations; `benchmarks/faults.py` tries every one."""
    n_operations = ran(fit_killed_in, tmp_path / "whole", 0)[0]
    assert n_operations > 30
    for operation in random.Random(8).sample(range(1, n_operations // 2), 3):
        folder = tmp_path / str(operation)
        child = started(fit_killed_in, folder, operation)
        child.process.join(60)
        assert child.process.exitcode == -9, operation
        assert_checkpoint_is_whole(folder)
        assert ran(kept_fit, folder)[0] == undisturbed[0], operation
