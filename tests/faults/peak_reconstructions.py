"""How much memory reconstructions from file to file take beyond that of one slice at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ct.data.simulation import SimulateConfig, simulate_file
from ct.reconstruct_config import ReconstructConfig
from ct.workflow import reconstruct_file
from tests.faults.peak_memory import peak_of

Say = Callable[[Any], None]


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A scan, and a method of few steps that takes several slices or members of it at once.

    Attributes:
        method: its name.
        settings: of it.
        side: pixels of a side of a slice.
        n_slices: of the scan; all of them together take more than the budgets.
    """

    method: str
    settings: dict[str, Any]
    side: int
    n_slices: int


_NETWORK = {"steps": 3, "network.width": 32}
STACKS = {
    "fbp": Stack(method="fbp", settings={}, side=128, n_slices=800),
    "cgls": Stack(method="cgls", settings={}, side=128, n_slices=300),
    "ensemble of networks": Stack(
        method="ensemble", settings={"n_members": 64, **_NETWORK}, side=48, n_slices=2
    ),
}
VIEWS = 30


def reconstruction_peaks(say: Say, kind: str, budget: int) -> None:
    """Say the peak with a budget, and that with the smallest one: both in bytes.

    The second is of one slice, or member, at a time: the projector's weights, the file and the
    code, which no budget is of.
    """
    torch.set_num_threads(1)
    stack = STACKS[kind]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = np.random.default_rng(0).uniform(1, 2, size=(1, stack.side, stack.side))
        np.save(folder / "image.npy", np.repeat(image.astype(np.float32), stack.n_slices, axis=0))
        scan = folder / "sino.h5"
        simulate_file(SimulateConfig(image=folder / "image.npy", output=scan, views=VIEWS))

        def reconstruct(given: int, slices: str | None) -> None:
            config = ReconstructConfig(
                sinogram=scan,
                output=folder / "rec.h5",
                method=stack.method,
                settings=stack.settings,
                device="cpu",
                slices=slices,
                memory_budget=given,
            )
            reconstruct_file(config)
            config.output.unlink()

        reconstruct(1, "0:1")  # what is loaded and kept once
        alone = peak_of(lambda: reconstruct(1, "0:2"))
        say((peak_of(lambda: reconstruct(budget, None)), alone))
