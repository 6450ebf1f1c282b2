"""Ctrl-C ends a fit after its step, with all kept; pressed twice, at once."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ensembles.checkpoint import checkpoint_at
from ensembles.ctrl_c import ctrl_c_waits
from ensembles.progress import Progress
from tests.ensembles.checkpointed import assert_same, fit, told_by
from tests.faults.children import ran, started
from tests.faults.kept_fits import bits_of_a_fit, fit_that_is_interrupted, kept_fit
from tests.faults.whole_files import assert_checkpoint_is_whole


@pytest.fixture
def _python_handles_ctrl_c() -> Iterator[None]:
    """As in a program of a user's; those that run tests may ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_once_the_step_is_finished_and_kept(tmp_path: Path) -> None:
    child = started(fit_that_is_interrupted, tmp_path, (2, 7), 0.3)
    assert child.said() == "there"
    child.send(signal.SIGINT)
    word, notes = child.result()
    assert word == "interrupted"
    (note,) = notes
    assert note == (
        f"checkpoint: 2 of 5 members are finished in {tmp_path}, those of members 2–3 are kept in "
        "training; the same call goes on from there."
    )
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == [
        "members-0-1.safetensors",
        "training-2-3-000001.safetensors",
    ]
    assert ran(kept_fit, tmp_path)[0] == bits_of_a_fit()


def test_twice_it_ends_at_once(tmp_path: Path) -> None:
    child = started(fit_that_is_interrupted, tmp_path, (2, 7), 500.0)
    assert child.said() == "there"
    child.send(signal.SIGINT)
    time.sleep(0.2)
    assert child.process.exitcode is None
    began = time.monotonic()
    child.send(signal.SIGINT)
    word, notes = child.result()
    assert time.monotonic() - began < 20
    assert word == "interrupted"
    assert notes[0].startswith("checkpoint: 2 of 5 members are finished")
    assert assert_checkpoint_is_whole(tmp_path) == 1
    assert ran(kept_fit, tmp_path)[0] == bits_of_a_fit()


@pytest.mark.usefixtures("_python_handles_ctrl_c")
@pytest.mark.parametrize(
    ("place", "next_step"), [((0, 20), (2, 1)), ((2, 3), (2, 5)), ((4, 20), None)]
)
def test_wherever_it_is_pressed_nothing_is_lost(
    place: tuple[int, int], next_step: tuple[int, int] | None, tmp_path: Path
) -> None:
    """After the last step of a chunk, within one, and after the very last: it is not swallowed."""

    def press(progress: Progress) -> None:
        if (progress.members[0], progress.step) == place:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit(checkpoint=checkpoint_at(tmp_path, seconds=3600), callback=press)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    told: list[Progress] = []
    assert_same(fit(checkpoint=tmp_path, callback=told.append), fit())
    assert (told_by(told)[0] if told else None) == next_step


def _pressed() -> bool:
    with ctrl_c_waits() as pressed:
        signal.raise_signal(signal.SIGINT)
        return pressed()


@pytest.mark.usefixtures("_python_handles_ctrl_c")
def test_who_has_a_handler_of_their_own_keeps_it() -> None:
    heard: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    assert not _pressed()
    assert heard == [signal.SIGINT]


@pytest.mark.usefixtures("_python_handles_ctrl_c")
def test_other_threads_change_nothing() -> None:
    found: list[bool] = []

    def enter() -> None:
        with ctrl_c_waits() as pressed:
            found.append(pressed())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [False]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("_python_handles_ctrl_c")
def test_the_first_waits_and_the_second_does_not() -> None:
    assert _pressed()

    def twice(press: Callable[[int], None]) -> None:
        with ctrl_c_waits() as pressed:
            press(signal.SIGINT)
            assert pressed()
            press(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        twice(signal.raise_signal)
