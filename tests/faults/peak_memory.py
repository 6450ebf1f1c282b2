"""How much memory a process takes at its peak, as the system counts it."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ensembles.estimators.base import EnsembleBase
from tests.faults.peak_models import model, table

Say = Callable[[Any], None]
_RESET_PEAK = "5"  # see proc(5), clear_refs


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """Bytes of memory that came on top of what the process had, the results left out.

    Attributes:
        fit: at the peak of the fit, the fitted members left out.
        predict: at the peak of a prediction, the arrays that it returns left out.
    """

    fit: int
    predict: int


def peak_of(function: Callable[[], object]) -> int:
    """Return the most bytes that the process had more while the function ran."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what is free already must not hide what is taken
    Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
    before = _bytes("VmRSS")
    function()
    return _bytes("VmHWM") - before


def peaks(say: Say, kind: str, budget: int, n_new: int) -> None:
    """Say the peaks of a fit and a prediction with a budget; each has run in small before."""
    torch.set_num_threads(1)
    tried = model(kind, width=8, n_members=2, budget=None)
    x, y = table(kind, 600)
    tried.fit(x, y)
    _predict(tried, x[:50])
    chosen = model(kind, width=None, n_members=None, budget=budget)
    x, y = table(kind, None)
    fit = peak_of(lambda: chosen.fit(x, y)) - _own_bytes(chosen)
    new = np.concatenate([x] * (n_new // len(x) + 1))[:n_new]
    results: list[tuple[Any, ...]] = []
    predict = peak_of(lambda: results.append(_predict(chosen, new)))
    returned = sum(value.nbytes for value in results[0])
    say(Peaks(fit=fit, predict=predict - returned))


def _predict(fitted: Any, x: Any) -> tuple[Any, ...]:
    if hasattr(fitted, "predict_proba"):
        return (fitted.predict_proba(x),)
    mean, std = fitted.predict(x, return_std=True)
    return mean, std


def _own_bytes(fitted: EnsembleBase) -> int:
    held = [fitted.params_, *fitted.shift_params_.values()]
    tensors = {id(value): value.nbytes for params in held for value in params.values()}
    return sum(tensors.values())


def _bytes(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [one for one in lines if one.startswith(key + ":")]
    return 1024 * int(line.split()[1])
