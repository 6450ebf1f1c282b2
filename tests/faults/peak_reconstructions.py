"""How much memory reconstructions from file to file take beside the projector's weights."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ct.posterior.held_out_views
import ct.posterior.known_scan
import ct.workflow
from ct.data.simulation import SimulateConfig, simulate_file
from ct.projectors.operator import projector
from ct.reconstruct_config import ReconstructConfig
from ct.workflow import reconstruct_file
from tests.faults.peak_memory import peak_of

Say = Callable[[Any], None]


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A scan, and a method of few steps.

    Attributes:
        method: its name.
        settings: of it.
        side: pixels of a side of a slice.
        n_slices: of the scan, of which a budget of 256 MiB gets all and others their share; where a
            method takes several at once, more than the budget takes.
    """

    method: str
    settings: dict[str, Any]
    side: int
    n_slices: int


_NETWORK = {"steps": 3, "network.width": 32}
_ALONE = {"held_out": 0.0}
STACKS = {
    "fbp": Stack(method="fbp", settings={}, side=128, n_slices=800),
    "cgls": Stack(method="cgls", settings={}, side=128, n_slices=300),
    "ensemble of networks": Stack(
        method="ensemble", settings={"n_members": 64, **_NETWORK}, side=48, n_slices=1
    ),
    "sirt": Stack(method="sirt", settings={"iterations": 2}, side=128, n_slices=222),
    "tv": Stack(method="tv", settings={"max_iterations": 2}, side=128, n_slices=222),
    "bm3d": Stack(method="bm3d", settings={"steps": 2}, side=128, n_slices=44),
    "jackknife (default)": Stack(
        method="jackknife", settings={"mean.steps": 2, "n_folds": 12}, side=128, n_slices=1
    ),
    "mc-dropout": Stack(
        method="mc-dropout", settings={"steps": 3, "centre_steps": 3}, side=128, n_slices=1
    ),
    "mean-field": Stack(method="mean-field", settings={"steps": 3}, side=128, n_slices=1),
    "laplace": Stack(
        method="laplace",
        settings={"steps": 3, "max_iterations": 2, "prior_precision": 1.0, "rank": 8, **_ALONE},
        side=96,
        n_slices=1,
    ),
    "hmc": Stack(
        method="hmc",
        settings={
            "steps": 10, "warm_up": 5, "samples_per_chain": 2, "n_chains": 8, "max_leapfrogs": 2,
            **_ALONE,
        },
        side=128,
        n_slices=1,
    ),
    "ntkgp": Stack(
        method="ntkgp",
        settings={"n_members": 32, "adam_steps": 3, "network.width": 16, **_ALONE},
        side=66,
        n_slices=1,
    ),
    "infinite-width": Stack(
        method="infinite-width", settings={"n_samples": 64}, side=128, n_slices=1
    ),
    "published-mc-dropout": Stack(
        method="published-mc-dropout", settings={"steps": 3, "n_samples": 3}, side=64, n_slices=1
    ),
}  # fmt: skip
VIEWS = 30
_BUDGET_OF_ALL = 256 * 2**20


def reconstruction_peak(say: Say, kind: str, budget: int) -> None:
    """Say the bytes that come on top, at the peak of a reconstruction with a budget.

    The projector's weights, of which no budget is, stand there from a first slice on. Everything
    else counts: a slice's own state, what is read and what waits to be written.
    """
    torch.set_num_threads(1)
    _keep_projectors()
    stack = STACKS[kind]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = np.random.default_rng(0).uniform(1, 2, size=(1, stack.side, stack.side))
        np.save(folder / "image.npy", np.repeat(image.astype(np.float32), stack.n_slices, axis=0))
        scan = folder / "sino.h5"
        simulate_file(SimulateConfig(image=folder / "image.npy", output=scan, views=VIEWS))

        def reconstruct(slices: str) -> None:
            config = ReconstructConfig(
                sinogram=scan,
                output=folder / "rec.h5",
                method=stack.method,
                settings=stack.settings,
                device="cpu",
                slices=slices,
                memory_budget=budget,
            )
            reconstruct_file(config)
            config.output.unlink()

        n_slices = max(1, stack.n_slices * budget // _BUDGET_OF_ALL)
        reconstruct("0:1")  # what is loaded and kept once
        say(peak_of(lambda: reconstruct(f"0:{n_slices}")))


def _keep_projectors() -> None:
    """Make each projector once in this process, as one run does for all of its slices."""
    kept = functools.cache(projector)
    for module in (ct.workflow, ct.posterior.held_out_views, ct.posterior.known_scan):
        setattr(module, "projector", kept)  # noqa: B010
