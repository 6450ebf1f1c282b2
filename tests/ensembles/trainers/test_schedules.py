"""Schedules of the learning rate: their values, and what they refuse."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from ensembles.trainers.schedules import Schedule, constant, cosine, step_decay


def test_cosine_rises_and_falls_as_written() -> None:
    for progress in (0.0, 0.01, 0.049, 0.3, 0.999):
        rise = min(1.0, progress / 0.05 + 0.02)
        fall = (1 + math.cos(math.pi * progress)) / 2
        assert cosine()(progress) == pytest.approx(rise * fall, rel=1e-12)
    assert cosine(warmup=0.0)(0.0) == 1.0


def test_steps_fall_at_their_times() -> None:
    schedule = step_decay(at=(0.2, 0.6), factor=0.5)
    assert [schedule(t) for t in (0.0, 0.19, 0.2, 0.59, 0.6, 1.0)] == [1, 1, 0.5, 0.5, 0.25, 0.25]
    assert constant()(0.7) == 1.0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: cosine(warmup=1.0), "warmup: expected a part of the training"),
        (lambda: cosine(warmup=-0.1), "warmup"),
        (lambda: step_decay(at=(1.5,)), "at: expected parts"),
        (lambda: step_decay(factor=0.0), "factor"),
    ],
)
def test_impossible_schedules_are_refused(build: Callable[[], Schedule], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_schedules_are_told_apart() -> None:
    assert cosine() == cosine()
    assert cosine() != cosine(warmup=0.1)
