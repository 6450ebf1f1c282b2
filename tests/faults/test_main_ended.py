"""The main process is ended while workers of its own work: they end too, and nothing is lost."""

from __future__ import annotations

import os
import re
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from tests.ct.workflow_runs import finished
from tests.faults.children import Child, started
from tests.faults.families import left_in_temporary_folders, local_workers, seconds_until_gone
from tests.faults.kept_by_workers import (
    N_SLICES,
    fit_by_workers,
    fitted,
    reconstruct_by_workers,
    result_of,
)
from tests.faults.kept_reconstructions import reconstructed, scan_of_slices, use_walk
from tests.faults.whole_files import assert_checkpoint_is_whole
from tests.faults.whole_reconstructions import assert_reconstruction_is_whole

STEPS = 60
SECONDS = 20.0  # in which workers have to be gone; it takes a tenth of one unless others compute


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scan_of_slices(tmp_path_factory.mktemp("scan"), N_SLICES)


@pytest.mark.slow  # workers that fit take seconds to import what they need
def test_killed_a_fits_workers_go_too_even_one_that_is_stopped(tmp_path: Path) -> None:
    """Also where another process, forked from it, holds all its pipes open."""
    fitting = partial(fit_by_workers, steps=STEPS, own_group=False, copied=True)
    child = started(fitting, tmp_path, "local")
    assert child.said() == "there"
    word, copy = child.said()
    workers = local_workers(tmp_path)
    assert (word, len(workers)) == ("working", 2)
    os.kill(workers[0], signal.SIGSTOP)
    assert child.kill()
    seconds_until_gone(tmp_path, SECONDS)
    os.kill(copy, signal.SIGKILL)  # it holds a copy of the checkpoint's lock too
    assert left_in_temporary_folders(tmp_path) == []
    assert assert_checkpoint_is_whole(tmp_path / "fit") >= 1
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    assert fitted(tmp_path, None, steps=STEPS) == fitted(undisturbed, None, steps=STEPS)


@pytest.mark.usefixtures("reconstructs_here")
def test_killed_a_reconstructions_workers_go_too_even_one_that_is_stopped(
    scan: Path, tmp_path: Path
) -> None:
    reconstructing = partial(reconstruct_by_workers, own_group=False)
    child = started(reconstructing, scan, tmp_path, "local")
    assert child.said() == "there"
    output = result_of(tmp_path)
    _wait_for_chunks(child, output, 1)
    os.kill(local_workers(tmp_path)[0], signal.SIGSTOP)
    assert child.kill()
    seconds_until_gone(tmp_path, SECONDS)
    assert left_in_temporary_folders(tmp_path) == []
    assert assert_reconstruction_is_whole(output)
    _assert_it_goes_on(scan, output)


@pytest.mark.usefixtures("reconstructs_here")
@pytest.mark.parametrize(
    "sent", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_interrupted_its_workers_go_too_and_what_is_finished_is_kept(
    sent: signal.Signals, scan: Path, tmp_path: Path
) -> None:
    """By Ctrl-C, which the terminal sends to all, or as a batch system ends the process alone."""
    reconstructing = partial(reconstruct_by_workers, own_group=True)
    child = started(reconstructing, scan, tmp_path, "local")
    assert child.said() == "there"
    output = result_of(tmp_path)
    _wait_for_chunks(child, output, 2)
    if sent == signal.SIGINT:
        os.killpg(child.process.pid, sent)
    else:
        child.send(sent)
    assert child.result() == 130
    seconds_until_gone(tmp_path, SECONDS)
    assert left_in_temporary_folders(tmp_path) == []
    (said,) = (tmp_path / "said").read_text().splitlines()
    match = re.search(rf"(\d) of {N_SLICES} slices are kept .* say --resume", said)
    assert match is not None
    # it may come between writing a slice and counting it
    assert len(assert_reconstruction_is_whole(output)) - int(match[1]) in {0, 1}
    _assert_it_goes_on(scan, output)


def _assert_it_goes_on(scan: Path, output: Path) -> None:
    """Go on, and compare with a run that nothing befell, bit for bit."""
    use_walk(steps=30)
    digest = reconstructed(scan, output)
    output.unlink()
    assert reconstructed(scan, output) == digest


def _wait_for_chunks(child: Child, output: Path, n_chunks: int) -> None:
    deadline = time.monotonic() + 120
    while len(finished(output)) < n_chunks and time.monotonic() < deadline:
        assert child.process.exitcode is None
        time.sleep(0.01)
