"""Saved ensembles that are replaced again and again, as children do it."""

from __future__ import annotations

import resource
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from ensembles import EnsembleRegressor, adam
from tests.ensembles.checkpointed import X, Y, network
from tests.faults.ordinary_rights import give_up_roots_rights

Say = Callable[[Any], None]


@cache
def fitted(seed: int) -> EnsembleRegressor:
    """Return a small ensemble."""
    model = EnsembleRegressor(
        network(), trainer=adam(steps=5), n_members=3, noise_std=0.2, random_state=seed
    )
    return model.fit(X, Y[:, 0])


def save_forever(say: Say, path: Path) -> None:
    """Save one of two ensembles after the other to the same path."""
    torch.set_num_threads(1)
    models = (fitted(1), fitted(2))
    models[1].save(path)
    say("saving")
    while True:
        for model in models:
            model.save(path)


def save_with_small_files(say: Say, path: Path, most: int) -> None:
    """Save where files may have so many bytes, and say the error."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    _save(say, path)


def save_without_permission(say: Say, path: Path) -> None:
    """Save into a folder that cannot be written, and say the error."""
    if not give_up_roots_rights():
        say("this process cannot give up root's rights")
        return
    path.parent.chmod(0o555)
    try:
        _save(say, path)
    finally:
        path.parent.chmod(0o755)


def _save(say: Say, path: Path) -> None:
    try:
        fitted(1).save(path)
    except ValueError as error:
        say(str(error))
    else:
        say("saved")
