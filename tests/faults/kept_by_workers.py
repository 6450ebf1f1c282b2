"""Fits and reconstructions by two workers, as main processes run them that are ended midway."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import ct.checkpoint_file
import ensembles.open_checkpoint
from bayesnn.executors import Executor, local_executor, ray_executor
from ensembles import adam
from ensembles.checkpoint import checkpoint_at
from tests.ensembles.checkpointed import all_bits, fit
from tests.faults.families import begin_family
from tests.faults.kept_reconstructions import use_walk

Say = Callable[[Any], None]
N_MEMBERS = 8
N_SLICES = 8


def two_workers(where: str) -> Executor:
    """Return an executor of two workers, "local" or of a "ray" that it starts."""
    return local_executor(2, threads=1) if where == "local" else ray_executor("local")


def fitted(folder: Path, executor: Executor | None, *, steps: int, callback: Any = None) -> str:
    """Fit two members at a time with frequent states, and return the result's bits."""
    torch.set_num_threads(1)
    ensembles.open_checkpoint.SHARE = 1e9  # however long saving takes
    found = fit(
        n_members=N_MEMBERS,
        trainer=adam(steps=steps),
        executor=executor,
        checkpoint=checkpoint_at(folder / "fit", seconds=0.05),
        callback=callback,
    )
    return all_bits(found)


def fit_by_workers(
    say: Say,
    folder: Path,
    where: str,
    *,
    steps: int,
    own_group: bool,
    as_ctrl_c: bool = False,
    copied: bool = False,
) -> None:
    """Fit; say "there", "working" at the first step, and the bits or what Ctrl-C ended in.

    Args:
        say: sends to the test.
        folder: of the family.
        where: the workers are.
        steps: of each member's training.
        own_group: whether it can be sent Ctrl-C with all that it starts.
        as_ctrl_c: whether SIGTERM is taken as Ctrl-C is, as the docs advise.
        copied: whether a process is forked that holds copies of all pipes, and outlives this one;
            its number is said after "working".
    """
    begin_family(folder, own_group=own_group)
    if as_ctrl_c:
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    sleeper: list[int] = []

    def tell(_: object) -> None:
        if not sleeper:
            sleeper.append(_fork_a_sleeper() if copied else 0)
            say(("working", sleeper[0]))

    with (folder / "said").open("a") as said:
        os.dup2(said.fileno(), 2)
    try:
        say("there")
        say(fitted(folder, two_workers(where), steps=steps, callback=tell))
    except KeyboardInterrupt as end:
        say(("interrupted", getattr(end, "__notes__", [])))


def _fork_a_sleeper() -> int:
    process = os.fork()
    if process == 0:
        time.sleep(60)
        os._exit(0)
    return process


def reconstruct_by_workers(
    say: Say, scan: Path, folder: Path, where: str, *, own_group: bool
) -> None:
    """Reconstruct slowly, as a terminal starts it; say "there", and the exit code."""
    from ct import cli

    begin_family(folder, own_group=own_group)
    use_walk(steps=30, pause=0.02)
    torch.set_num_threads(1)
    ct.checkpoint_file.SECONDS_BETWEEN_SAVES, ct.checkpoint_file.SHARE = 0.0, 1e9
    executor = "local:2" if where == "local" else "ray"
    with (folder / "said").open("a") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        sys.stderr = sys.stdout = said
        sys.argv = [
            "bayesnn-ct", "reconstruct", str(scan), "-o", str(result_of(folder)), "--device", "cpu",
            "--executor", executor, "--resume",
        ]  # fmt: skip
        try:
            say("there")
            cli.main()
        except SystemExit as end:
            say(end.code)


def result_of(folder: Path) -> Path:
    """Return where a family's reconstruction goes: a folder of its own."""
    (folder / "out").mkdir(exist_ok=True)
    return folder / "out" / "rec.h5"
