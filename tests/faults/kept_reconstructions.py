"""Reconstructions from file to file, as children run them and as faults befall them."""

from __future__ import annotations

import hashlib
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

import ct.checkpoint_file
import ct.state_files
import ct.workflow
from bayesnn.executors import Executor
from ct.data.simulation import SimulateConfig, simulate_file
from ct.partial_result import state_path
from ct.reconstruct_config import ReconstructConfig
from ct.workflow import reconstruct_file
from tests.ct.workflow_runs import TINY, Walk, finished
from tests.faults.file_operations import die_in_operation
from tests.faults.ordinary_rights import give_up_roots_rights

Say = Callable[[Any], None]
N_SLICES = 4
SETTINGS = {**TINY, "steps": 5}


def scan_of_slices(folder: Path, n_slices: int = N_SLICES) -> Path:
    """Write a scan of slices of noise, and return its path."""
    image = np.random.default_rng(0).uniform(1, 2, size=(n_slices, 16, 16))
    np.save(folder / "image.npy", image)
    simulate_file(SimulateConfig(image=folder / "image.npy", output=folder / "sino.h5", views=12))
    return folder / "sino.h5"


def reconstructed(
    scan: Path,
    output: Path,
    *,
    resume: bool = True,
    progress: Callable[[float, float], None] | None = None,
    executor: Executor | None = None,
    checkpoint: Path | None = None,
) -> str:
    """Reconstruct with a state after every step, and return the digest of the result's content."""
    torch.set_num_threads(1)
    ct.checkpoint_file.SECONDS_BETWEEN_SAVES, ct.checkpoint_file.SHARE = 0.0, 1e9
    config = ReconstructConfig(
        sinogram=scan,
        output=output,
        method="mc-dropout",
        settings=SETTINGS,
        device="cpu",
        executor=executor,
        resume=resume,
        checkpoint=None if checkpoint is None else str(checkpoint),
    )
    reconstruct_file(config, progress=progress)
    return content_of(output)


def content_of(output: Path) -> str:
    """Return the digest of all images of a result and of all that it says of them."""
    digest = hashlib.sha256()
    with h5py.File(output) as file:
        for name, data in sorted(file.items()):
            digest.update(name.encode() + data[()].tobytes())
        for name, value in sorted(file.attrs.items()):
            digest.update(f"{name}={value}".encode())
    return digest.hexdigest()


def use_walk(**settings: Any) -> Walk:
    """Take the random walk for the method of all runs of this process, and return it."""
    walk = Walk(**settings)
    ct.workflow.choose_method = lambda *_: walk
    return walk


def reconstruction(say: Say, scan: Path, output: Path, checkpoint: Path | None = None) -> None:
    """Reconstruct, and say the result's digest."""
    say(reconstructed(scan, output, checkpoint=checkpoint))


def walk(say: Say, scan: Path, output: Path, checkpoint: Path | None = None) -> None:
    """Reconstruct by few steps, and say the result's digest."""
    use_walk(steps=3)
    say(reconstructed(scan, output, checkpoint=checkpoint))


def walk_killed_in(
    say: Say, scan: Path, output: Path, operation: int, checkpoint: Path | None = None
) -> None:
    """Reconstruct as `walk` does, be killed in a file operation, or say how many there were.

    With a checkpoint, operations are those in the folder that holds it and the output's folder.
    """
    use_walk(steps=3)
    n_done = die_in_operation(output.parent if checkpoint is None else checkpoint.parent, operation)
    reconstructed(scan, output, checkpoint=checkpoint)
    say(n_done())


def slow_walk(say: Say, scan: Path, output: Path, words: tuple[str, ...] = ()) -> None:
    """Reconstruct slowly by the command line, and say its exit code, after "working"."""
    from ct.cli import run

    use_walk(pause=0.01)
    ct.checkpoint_file.SECONDS_BETWEEN_SAVES, ct.checkpoint_file.SHARE = 0.0, 1e9
    with output.with_suffix(".err").open("w") as errors, Path(os.devnull).open("w") as nowhere:
        os.dup2(errors.fileno(), 2)
        sys.stderr, sys.stdout = errors, nowhere
        say("working")
        say(run(["reconstruct", str(scan), "-o", str(output), "--device", "cpu", *words]))


def walk_whose_states_take_long(say: Say, scan: Path, output: Path) -> None:
    """Reconstruct as `slow_walk` does, but from the second slice on, saving a state never ends."""
    write = ct.state_files.write_tensor_file

    def slow(*words: Any, **options: Any) -> None:
        if not finished(output):
            write(*words, **options)
            return
        say("saving")
        for _second in range(60):
            time.sleep(1)

    ct.state_files.write_tensor_file = slow
    slow_walk(say, scan, output)


def walk_that_loses_permission(say: Say, scan: Path, output: Path, slices_done: float) -> None:
    """Reconstruct in a folder that can no longer be written at some time; say all that was said."""
    use_walk(steps=6)
    if not give_up_roots_rights():
        say("this process cannot give up root's rights")
        return

    def lose(done: float, _: float) -> None:
        if done >= slices_done:
            for folder in (state_path(output), output.parent):
                folder.chmod(0o555)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            said = reconstructed(scan, output, progress=lose)
        except ValueError as error:
            said = str(error)
    say(([str(one.message) for one in caught], said))
