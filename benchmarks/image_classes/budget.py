"""What every method may spend: one network, one length of training, as many candidates."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What one run spends; the same for every method.

    Attributes:
        name: in records and reports.
        width: channels of each convolution.
        depth: convolutions, each of which halves the image's sides.
        steps: of training, a member.
        batch_size: images a step.
        choosing: members of the ensembles that settings are chosen by.
        members: of the ensemble that is scored.
        draws: functions drawn from posteriors of one network and from the Gaussian process.
        candidates: settings that a method may try.
        kernel_rows: training images of the infinite-width posterior, at most.
        outside: images of Fashion-MNIST.
        per_letter: images of each letter.
    """

    name: str
    width: int = 32
    depth: int = 3
    steps: int = 800
    batch_size: int = 128
    choosing: int = 2
    members: int = 10
    draws: int = 30
    candidates: int = 4
    kernel_rows: int = 4000
    outside: int = 1000
    per_letter: int = 20


LONG = Budget(name="long", steps=2000, choosing=3)  # for a GPU
FULL = Budget(name="full")
REDUCED = Budget(
    name="reduced", width=16, steps=200, choosing=2, members=4, candidates=2, kernel_rows=400,
    outside=500,
)  # fmt: skip
QUICK = Budget(
    name="quick", width=8, steps=40, choosing=2, members=3, draws=8, candidates=2, kernel_rows=12,
    outside=100, per_letter=2,
)  # fmt: skip
