"""What the tests of runs from file to file share."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch

from bayesnn.seeds import seeded_generator
from ct.partial_result import journal_path
from ct.problem import Estimate, Problem, Progress, Setting
from ct.reconstruct_config import ReconstructConfig

TINY = {
    "steps": 3,
    "centre_steps": 2,
    "n_samples": 2,
    "network.finest": 16,
    "network.channels": 2,
    "network.width": 4,
}


def contents(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        return {name: data[()] for name, data in file.items()}


def assert_same_result(a: Path, b: Path) -> None:
    first, second = contents(a), contents(b)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def listing(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}


def finished(output: Path) -> list[int]:
    """Return the chunks on record, as another process sees them."""
    if not journal_path(output).exists():
        return []
    whole = journal_path(output).read_bytes().rpartition(b"\n")[0]
    entries = [json.loads(line.partition(b" ")[2]) for line in whole.splitlines()]
    return [entry["chunk"] for entry in entries if "chunk" in entry]


def config(stack: Path, output: Path, **changes: object) -> ReconstructConfig:
    return ReconstructConfig(**{
        "sinogram": stack,
        "output": output,
        "method": "mc-dropout",
        "settings": TINY,
        "device": "cpu",
        **changes,
    })


def interrupt_after(n_slices: float, total: int) -> Callable[[float, float], None]:
    def progress(done: float, n: float) -> None:
        assert n == total
        if done > n_slices + 1e-9:
            raise KeyboardInterrupt

    return progress


def fbp_config(sinogram: Path, output: Path, **changes: object) -> ReconstructConfig:
    return config(sinogram, output, method="fbp", settings={}, **changes)


@dataclass(frozen=True)
class Walk:
    """A method of many steps that saves its state: a random walk, with an error bar."""

    steps: int = 60
    pause: float = 0.0
    taken: tuple[list[int], ...] = ([],)
    name: str = "mc-dropout"
    n_samples: int = 3

    def settings(self) -> dict[str, Setting]:
        return {"steps": self.steps}

    def solve(self, problem: Problem, *, seed: int, progress: Progress | None = None) -> Estimate:
        place = problem.checkpoint.part("walk")
        state = place.load() or {
            "step": torch.tensor(0),
            "image": torch.zeros(problem.grid.shape, dtype=torch.float64),
        }
        image = state["image"]
        for step in range(int(state["step"]), self.steps):
            draw = torch.randn(image.shape, generator=seeded_generator(seed, step))
            image = 0.9 * image + draw
            self.taken[0].append(step)
            time.sleep(self.pause)
            if place.due():
                place.save({"step": torch.tensor(step + 1), "image": image})
            if progress is not None:
                progress(step + 1, self.steps)
        image = image.to(problem.sinogram)
        samples = torch.stack([image - 1, image, image + 1])
        return Estimate(
            mean=image,
            std=torch.ones_like(image),
            samples=samples if problem.keep_samples else None,
        )
