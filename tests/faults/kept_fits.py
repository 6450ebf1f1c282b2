"""Fits with a checkpoint, as children run them."""

from __future__ import annotations

import resource
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import ensembles.open_checkpoint
from ensembles import adam
from ensembles.checkpoint import checkpoint_at
from ensembles.progress import Callback, Progress
from tests.ensembles.checkpointed import all_bits, fit
from tests.faults.file_operations import die_in_operation
from tests.faults.ordinary_rights import give_up_roots_rights

Say = Callable[[Any], None]
STEPS = 20


def bits_of_a_fit() -> str:
    """Return what every one of these fits has to end in."""
    return all_bits(fit(trainer=adam(steps=STEPS)))


def kept_bits(folder: Path, *, seconds: float = 1e-9, callback: Callback | None = None) -> str:
    """Fit with every step saved, and return the result's bits."""
    torch.set_num_threads(1)
    ensembles.open_checkpoint.SHARE = 1e9  # however long saving takes
    where = checkpoint_at(folder, seconds=seconds)
    return all_bits(fit(trainer=adam(steps=STEPS), checkpoint=where, callback=callback))


def kept_fit(say: Say, folder: Path) -> None:
    """Fit, and say the result's bits."""
    say(kept_bits(folder))


def fit_killed_in(say: Say, folder: Path, operation: int) -> None:
    """Fit with few states, be killed in a file operation, or say how many there were."""
    n_done = die_in_operation(folder, operation)
    torch.set_num_threads(1)
    fit(trainer=adam(steps=STEPS), checkpoint=checkpoint_at(folder, seconds=0.01))
    say(n_done())


def fit_that_is_refused(say: Say, folder: Path) -> None:
    """Fit where another process may be at it; say the error, or the result's bits."""
    try:
        say(kept_bits(folder))
    except ValueError as error:
        say(str(error))


def fit_that_waits(say: Say, folder: Path, at: tuple[int, int]) -> None:
    """Fit up to the step of a member, say "there", and wait."""

    def wait(progress: Progress) -> None:
        if (progress.members[0], progress.step) == at:
            say("there")
            time.sleep(600)

    kept_bits(folder, callback=wait)


def fit_that_is_interrupted(say: Say, folder: Path, at: tuple[int, int], seconds: float) -> None:
    """Fit with states an hour apart; say when a step is reached, and what Ctrl-C ended in.

    In that step it waits for some seconds, as a step that takes long.
    """

    def wait(progress: Progress) -> None:
        if (progress.members[0], progress.step) == at:
            say("there")
            time.sleep(seconds)

    try:
        say(kept_bits(folder, seconds=3600, callback=wait))
    except KeyboardInterrupt as end:
        say(("interrupted", end.__notes__))


def fit_that_loses_permission(
    say: Say, folder: Path, lost: tuple[int, int], regained: tuple[int, int] | None
) -> None:
    """Fit in a folder that cannot be written between two steps; say the warnings and the bits."""
    if not give_up_roots_rights():
        say("this process cannot give up root's rights")
        return

    def lose_and_regain(progress: Progress) -> None:
        place = (progress.members[0], progress.step)
        if place == lost:
            folder.chmod(0o555)
        elif place == regained:
            folder.chmod(0o755)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bits = kept_bits(folder, callback=lose_and_regain)
    say(([str(one.message) for one in caught], bits))


def fit_in_a_folder_without_permission(say: Say, folder: Path) -> None:
    """Fit in a folder that was never to be written; say the error, or the bits."""
    if not give_up_roots_rights():
        say("this process cannot give up root's rights")
        return
    try:
        say(kept_bits(folder))
    except ValueError as error:
        say(str(error))


def fit_with_small_files(say: Say, folder: Path, most: int) -> None:
    """Fit where files may have so many bytes, as under a quota; say the warnings and the bits."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bits = kept_bits(folder)
    say(([str(one.message) for one in caught], bits))
