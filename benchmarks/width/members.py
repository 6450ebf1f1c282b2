"""Values of many trained members at test points, range after range of them."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.width.problems import Problem
from ensembles.evaluation import member_values
from ensembles.fit import fit_members
from ensembles.losses import SquaredError
from ensembles.methods.protocol import Method
from ensembles.trainers.gauss_newton import GaussNewton
from ensembles.trainers.member_size import member_size


@dataclass(frozen=True, kw_only=True)
class TrainedValues:
    """What training gave.

    Attributes:
        values: f̃ at the test points, [members, points].
        converged: how many members met the criterion.
        n_steps: most steps that a member took.
        seconds: time, draws included.
    """

    values: Float[Tensor, "m n"]
    converged: int
    n_steps: int
    seconds: float


def trained_values(
    problem: Problem,
    width: int,
    *,
    method: Method,
    trainer: GaussNewton,
    n_members: int,
    device: torch.device,
    memory: int,
) -> TrainedValues:
    """Train members in float32, as many at a time as the memory holds, and keep their values."""
    began = time.perf_counter()
    network = problem.network(width).to(device).eval()
    x, points = problem.x.to(device, torch.float32), problem.points.to(device, torch.float32)
    y = problem.y[:, None].to(device, torch.float32)
    each = trainer.bytes_per_member(member_size(network, method, x, 1))
    at_once = max(1, memory // each)
    values, converged, n_steps = [], 0, 0
    for first in range(0, n_members, at_once):
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # a member that diverged
            fitted = fit_members(
                network, x, y, method=method, trainer=trainer, first=first,
                n_members=min(first + at_once, n_members), memory_budget=memory, seed=0,
                loss=SquaredError(noise_std=torch.tensor([problem.noise_std], device=device)),
            )  # fmt: skip
        with torch.no_grad():
            found = member_values(method, network, fitted.params, fitted.shift, points)
        values.append(found[..., 0].double().cpu())
        converged += sum(fitted.converged)
        n_steps = max(n_steps, fitted.n_steps)
        del fitted
    return TrainedValues(
        values=torch.cat(values), converged=converged, n_steps=n_steps,
        seconds=time.perf_counter() - began,
    )  # fmt: skip
