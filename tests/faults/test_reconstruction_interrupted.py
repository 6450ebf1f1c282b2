"""Ctrl-C once stops cleanly with what is finished, twice at once; two runs do not mix."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from ct.partial_result import journal_path
from ct.workflow import reconstruct_file
from tests.ct.workflow_runs import config, finished
from tests.faults.children import Child, started
from tests.faults.kept_reconstructions import (
    content_of,
    scan_of_slices,
    slow_walk,
    walk_whose_states_take_long,
)
from tests.faults.whole_reconstructions import assert_reconstruction_is_whole


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scan_of_slices(tmp_path_factory.mktemp("scan"))


@pytest.fixture(scope="module")
def bits(scan: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The content of the result of a run that nothing befell."""
    output = tmp_path_factory.mktemp("undisturbed") / "rec.h5"
    _run(scan, output)
    return content_of(output)


def _run(scan: Path, output: Path, *words: str) -> None:
    """Reconstruct to the end."""
    child = started(slow_walk, scan, output, words)
    assert (child.said(), child.result()) == ("working", 0)


def _at_work(child: Child, output: Path, n_chunks: int) -> None:
    """Wait until so many chunks are finished."""
    assert child.said() == "working"
    deadline = time.monotonic() + 60
    while len(finished(output)) < n_chunks and time.monotonic() < deadline:
        time.sleep(0.01)


def test_ctrl_c_once_keeps_what_is_finished_and_says_so(
    scan: Path, bits: str, tmp_path: Path
) -> None:
    output = tmp_path / "rec.h5"
    child = started(slow_walk, scan, output)
    _at_work(child, output, 1)
    child.send(signal.SIGINT)
    assert child.result() == 130
    (said,) = output.with_suffix(".err").read_text().splitlines()
    assert "of 4 slices are kept" in said
    assert "say --resume" in said
    assert assert_reconstruction_is_whole_beside_words(output)
    _run(scan, output, "--resume")
    assert content_of(output) == bits


def test_ctrl_c_twice_ends_at_once_also_while_a_state_is_saved(
    scan: Path, bits: str, tmp_path: Path
) -> None:
    output = tmp_path / "rec.h5"
    child = started(walk_whose_states_take_long, scan, output)
    assert (child.said(), child.said()) == ("working", "saving")
    child.send(signal.SIGINT)
    assert child.said() == "saving"  # what is in memory
    child.send(signal.SIGINT)
    began = time.monotonic()
    assert child.result() == 130  # it would be "saving" if it tried once more
    assert time.monotonic() - began < 20  # of sixty seconds
    assert len(assert_reconstruction_is_whole_beside_words(output)) >= 1
    _run(scan, output, "--resume")
    assert content_of(output) == bits


def test_of_two_runs_one_wins_and_the_other_says_so(scan: Path, bits: str, tmp_path: Path) -> None:
    output = tmp_path / "rec.h5"
    child = started(slow_walk, scan, output)
    _at_work(child, output, 1)
    for resume in (False, True):
        with pytest.raises(
            ValueError, match=r"rec.h5: another process is writing it; wait for its"
        ):
            reconstruct_file(config(scan, output, resume=resume))
    assert child.result() == 0
    assert content_of(output) == bits
    assert not journal_path(output).exists()


def assert_reconstruction_is_whole_beside_words(output: Path) -> list[int]:
    """Read all files but the words that went to stderr; return the finished chunks."""
    output.with_suffix(".err").rename(output.parent.parent / f"{output.parent.name}.err")
    return assert_reconstruction_is_whole(output)
