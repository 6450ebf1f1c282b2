"""What all parts share: the device, the paper's network and toy, waiting for the device."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bayesnn.networks import Erf, mlp
from bayesnn.seeds import seeded_generator
from ensembles.losses import SquaredError

NOISE = 0.1
TITLE = "Members trained side by side"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where to measure, and whether in a hurry."""

    device: torch.device
    quick: bool

    @property
    def name(self) -> str:
        """The device's name in the reports' file names."""
        return "gpu" if self.device.type == "cuda" else "cpu"

    def wait(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def median_seconds(self, run: Callable[[], object], *, repeats: int, warm_up: int = 2) -> float:
        """Return the median time of a run."""
        times = []
        for number in range(warm_up + repeats):
            self.wait()
            began = time.perf_counter()
            run()
            self.wait()
            if number >= warm_up:
                times.append(time.perf_counter() - began)
        return statistics.median(times)


def paper_network(in_features: int = 1, width: int = 512) -> nn.Sequential:
    """Return the MLP of the paper's toy."""
    return mlp(
        in_features=in_features, out_features=1, width=width, depth=2, activation=Erf(),
        weight_std=1.5, bias_std=0.05, generator=seeded_generator(0),
    )  # fmt: skip


def toy_rows(n: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return n data of the paper's toy, X [n, 1] and y [n, 1]."""
    rng = np.random.default_rng(0)
    half = n // 2
    left, right = rng.uniform(-2, -2 / 3, half), rng.uniform(2 / 3, 2, n - half)
    x = np.concatenate([left, right])[:, None]
    y = x * np.sin(x) + NOISE * rng.standard_normal((n, 1))
    return torch.tensor(x, dtype=torch.float32).to(device), torch.tensor(y).float().to(device)


def squares(device: torch.device, noise: float = NOISE) -> SquaredError:
    """Return the loss of data with known noise."""
    return SquaredError(noise_std=torch.tensor([noise], device=device))
