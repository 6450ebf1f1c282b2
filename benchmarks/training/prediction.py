"""How much memory and time do predictions at very many points take?"""

from __future__ import annotations

import resource
import threading
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.report import Report
from benchmarks.training.setting import NOISE, TITLE, Setting, paper_network
from ensembles import EnsembleRegressor, adam

MEMBERS = 20


def report(setting: Setting) -> Report:
    """Predict mean and standard deviation, while the memory is watched."""
    gpu = setting.device.type == "cuda"
    n_points = 20_000 if setting.quick else 1_000_000 if gpu else 100_000
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (20, 1)).astype(np.float32)
    model = EnsembleRegressor(
        paper_network(), n_members=MEMBERS, noise_std=NOISE, random_state=0,
        trainer=adam(steps=20), device=str(setting.device),
    ).fit(x, (x * np.sin(x))[:, 0])  # fmt: skip
    points = rng.uniform(-6, 6, (n_points, 1)).astype(np.float32)
    model.predict(points[:1000], return_std=True)
    setting.wait()
    if gpu:
        torch.cuda.reset_peak_memory_stats()
        device_before = torch.cuda.memory_allocated()
    with HostMemory() as memory:
        began = time.perf_counter()
        mean, std = model.predict(points, return_std=True)
        setting.wait()
        seconds = time.perf_counter() - began
    assert mean.shape == std.shape == (n_points,)
    assert np.isfinite(mean).all()
    device = (torch.cuda.max_memory_allocated() - device_before) / 1e9 if gpu else None
    return Report(
        name=f"ensemble_training_prediction_{setting.name}",
        title=f"{TITLE}: prediction, mean and standard deviation, NTKGP-param, MLP 2×512",
        command="python benchmarks/ensemble_training.py --part prediction",
        columns=("points", "members", "s", "peak host GB", "peak GPU GB"),
        rows=[(
            f"{n_points:,}", str(MEMBERS), f"{seconds:.1f}", f"{memory.peak / 1e9:.2f}",
            "" if device is None else f"{device:.2f}",
        )],
        notes=[
            ("Peaks beyond what was held before, the inputs and the members among it; results are "
            f"in them. The process' own peak over its life: "
            f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB.")
        ],
    )  # fmt: skip


class HostMemory:
    """The most resident memory of this process while it is watched, beyond that at the start."""

    def __enter__(self) -> HostMemory:
        self._start, self.peak = _resident(), 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            self.peak = max(self.peak, _resident() - self._start)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
