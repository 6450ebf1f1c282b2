"""Schedules of the learning rate: functions of the part of the training that is done.

A schedule is any function from progress in [0, 1) to a factor of the largest learning rate. Give
it a name or make it a frozen dataclass, so that checkpoints can tell one from another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bayesnn.checks import check_positive

Schedule = Callable[[float], float]


@dataclass(frozen=True, kw_only=True)
class Constant:
    """The same rate throughout; build it with `constant()`."""

    def __call__(self, progress: float) -> float:  # noqa: ARG002
        """Return 1."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """A linear warm-up, and a cosine that falls to zero; build it with `cosine()`."""

    warmup: float

    def __call__(self, progress: float) -> float:
        """Return min(1, progress/warmup + 0.02) · (1 + cos(π·progress))/2."""
        rise = min(1.0, progress / self.warmup + 0.02) if self.warmup else 1.0
        return rise * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True, kw_only=True)
class StepDecay:
    """A rate that falls at given times; build it with `step_decay()`."""

    at: tuple[float, ...]
    factor: float

    def __call__(self, progress: float) -> float:
        """Return factor to the power of the number of times that have passed."""
        return self.factor ** sum(progress >= time for time in self.at)


def constant() -> Constant:
    """Return the schedule that leaves the learning rate as it is.

    Returns:
        The schedule.

    Example:
        >>> constant()(0.9)
        1.0
    """
    return Constant()


def cosine(*, warmup: float = 0.05) -> Cosine:
    """Return a linear warm-up followed by a cosine decay to zero, the default of all trainers.

    Args:
        warmup: part of the training in which the rate rises; 0 for none.

    Returns:
        The schedule.

    Raises:
        ValueError: a warm-up outside [0, 1).

    Example:
        >>> schedule = cosine()
        >>> [round(schedule(t), 2) for t in (0.0, 0.05, 0.5, 1.0)]
        [0.02, 0.99, 0.5, 0.0]
    """
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup: expected a part of the training in [0, 1), got {warmup!r}.")
    return Cosine(warmup=float(warmup))


def step_decay(*, at: Sequence[float] = (0.5, 0.75), factor: float = 0.1) -> StepDecay:
    """Return the schedule that multiplies the rate by `factor` at given times.

    Args:
        at: when, as parts of the training.
        factor: by which the rate changes.

    Returns:
        The schedule.

    Raises:
        ValueError: a time outside [0, 1], or a factor that is not positive.

    Example:
        >>> step_decay(at=(0.5,), factor=0.5)(0.6)
        0.5
    """
    if not all(0 <= time <= 1 for time in at):
        raise ValueError(f"at: expected parts of the training in [0, 1], got {tuple(at)!r}.")
    return StepDecay(at=tuple(map(float, at)), factor=check_positive(factor, "factor"))
