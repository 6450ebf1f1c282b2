"""How much faster is a fit by all workers than by one of them, and are its numbers the same?"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bayesnn.executors import Executor
from bayesnn.networks import Erf, mlp
from bayesnn.seeds import seeded_generator
from ensembles import adam, ntkgp_param
from ensembles.fit import fit_members
from ensembles.gathered import FittedMembers
from ensembles.losses import SquaredError

N_MEMBERS = 16


@dataclass(frozen=True, kw_only=True)
class Size:
    """A fit that keeps a device busy.

    Attributes:
        rows: of data.
        width: of the network's two hidden layers.
        batch: rows a step.
        steps: of each member.
        dtype: of all numbers.
    """

    rows: int
    width: int
    batch: int
    steps: int
    dtype: torch.dtype = torch.float64


QUICK = Size(rows=64, width=8, batch=32, steps=5)
WARM = Size(rows=64, width=8, batch=32, steps=2000)  # long enough that no worker is left out
CPU = Size(rows=4096, width=256, batch=1024, steps=60)  # products, not memory, decide
GPU = Size(rows=16_384, width=1024, batch=4096, steps=3000, dtype=torch.float32)


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What was measured.

    Attributes:
        one: seconds of fits by one worker, in the order in which they were run.
        all: seconds of fits by all workers, between these.
        busiest: processor seconds of the busiest process in fits by one worker and by all, which
            other work on the machine changes less than it changes wall time; empty where the
            executor's processes are not known.
        difference: largest difference between parameters, relative to the largest of each tensor.
        draws_equal: whether all draws are the same bit for bit.
    """

    one: list[float]
    all: list[float]
    busiest: tuple[list[float], list[float]]
    difference: float
    draws_equal: bool


def measure(one: Executor, every: Executor, size: Size, rounds: int) -> Iterator[Speed]:
    """Fit by one worker and by all in turn, so that other work on the machine meets both.

    Args:
        one: of one worker, kept, which has done something already.
        every: of all workers, likewise.
        size: of the fit.
        rounds: of either.

    Yields:
        What is measured so far, after each round.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    busiest: tuple[list[float], list[float]] = ([], [])
    fitted: list[FittedMembers] = []
    for turn in range(2 * rounds):
        # one, all, all, one, …: a slow drift of the machine's speed meets both alike
        which = (turn + 1) // 2 % 2
        executor = every if which else one
        before, began = processor_seconds(executor), time.perf_counter()
        members = fit(executor, size)
        seconds[which].append(time.perf_counter() - began)
        after = processor_seconds(executor)
        if after:
            busiest[which].append(max(after[pid] - before.get(pid, 0.0) for pid in after))
        if turn < 2:
            fitted.append(members)
        print(("all" if which else "one"), f"{seconds[which][-1]:.2f} s", flush=True)
        if turn % 2:
            yield _compared(*fitted, seconds, busiest)


def _compared(
    first: FittedMembers,
    second: FittedMembers,
    seconds: tuple[list[float], list[float]],
    busiest: tuple[list[float], list[float]],
) -> Speed:
    return Speed(
        one=list(seconds[0]),
        all=list(seconds[1]),
        busiest=(list(busiest[0]), list(busiest[1])),
        difference=max(
            float((second.params[name] - value).abs().max() / value.abs().max())
            for name, value in first.params.items()
        ),
        draws_equal=all(
            bool((second.shift[kind][name] == value).all())
            for kind, params in first.shift.items()
            for name, value in params.items()
        ),
    )


def halves(one: Executor, size: Size, rounds: int) -> Iterator[tuple[list[float], list[float]]]:
    """Fit all members and half of them by one worker in turn.

    Args:
        one: of one worker, kept, which has done something already.
        size: of the fit.
        rounds: of either.

    Yields:
        Seconds of fits of all members and of half of them, after each round.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(2 * rounds):
        which = (turn + 1) // 2 % 2
        began = time.perf_counter()
        fit(one, size, N_MEMBERS // (1 + which))
        seconds[which].append(time.perf_counter() - began)
        print(("half" if which else "whole"), f"{seconds[which][-1]:.2f} s", flush=True)
        if turn % 2:
            yield seconds


def fit(executor: Executor, size: Size, n_members: int = N_MEMBERS) -> FittedMembers:
    """Draw and train the members."""
    x, y = _data(size)
    network = mlp(
        in_features=x.shape[1], out_features=1, width=size.width, depth=2, activation=Erf(),
        weight_std=1.5, bias_std=0.05,
    ).to(size.dtype)  # fmt: skip
    fitted = fit_members(
        network, x, y, method=ntkgp_param(), n_members=n_members, seed=0, executor=executor,
        trainer=adam(steps=size.steps, batch_size=size.batch),
        loss=SquaredError(noise_std=torch.tensor([0.1], dtype=size.dtype)),
    )  # fmt: skip
    assert fitted.members == tuple(range(n_members)), "a member is missing"
    return fitted


def processor_seconds(executor: Executor) -> dict[int, float]:
    """Return the time that each process of local workers has computed so far."""
    found = {}
    for pid in getattr(executor, "pids", ()):
        # after the name, which may hold blanks: state is field 3, utime 14 and stime 15
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        found[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def _data(size: Size) -> tuple[Tensor, Tensor]:
    generator = seeded_generator(0)
    x = torch.randn(size.rows, 8, generator=generator, dtype=torch.float64)
    noise = 0.1 * torch.randn(size.rows, 1, generator=generator, dtype=torch.float64)
    return x.to(size.dtype), (x.sin().sum(1, keepdim=True) + noise).to(size.dtype)
