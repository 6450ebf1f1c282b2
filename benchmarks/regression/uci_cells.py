"""One method on one split of one set: settings on the training rows, scores on the test rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from bayesnn import Predictive
from benchmarks.comparison.cells import Cell
from benchmarks.record_file import Record
from benchmarks.regression.densities import DENSITIES
from benchmarks.regression.listed import EXACT, FAMILY, PEERS, WITH_PRIOR
from benchmarks.regression.method import Choice, choose, validation_nlls
from benchmarks.regression.scores import scores_of
from benchmarks.regression.uci_data import Split, load, split


def run_cell(cell: Cell, *, folder: Path | None, quick: bool) -> Record:
    """Fit a method to a split's training rows and score it on its test rows.

    Args:
        cell: set, split and method.
        folder: of the UCI files.
        quick: whether ensembles have three members, a few steps and little width, and peers one
            candidate.
    """
    data = split(load(cell.data, folder), cell.split)
    found: Record = {}
    density: str | None = None
    exact: Choice | None = None
    if cell.method in PEERS:
        peer = PEERS[cell.method]
        peer = replace(peer, candidates=peer.candidates[:1]) if quick else peer
        choice = choose(peer, data.X, data.y, seed=cell.split)
    else:
        exact = choice = _exact(cell.data, cell.split, folder)
    if exact is not None and cell.method in WITH_PRIOR:
        settings = exact.settings
        ensemble = WITH_PRIOR[cell.method].with_prior(settings)
        ensemble = ensemble.smaller() if quick else ensemble
        choice = choose(ensemble, data.X, data.y, seed=cell.split)
        density = exact.density
        if cell.method in FAMILY:
            nlls = validation_nlls(ensemble, data.X, data.y, settings=settings, seed=cell.split)
            found["validation nll"] = nlls[density]
    if choice.validation_nll is not None:
        found["validation nll"] = choice.validation_nll
    density = density or choice.density
    post = choice.fitted.predict(torch.as_tensor(data.X_test, dtype=torch.float64))
    found |= scores_of(
        post, data.y_test, density=DENSITIES[density], distance=data.distance(), copied=data.copied
    )
    if exact is not None and choice is not exact:
        found |= _beside(exact, post, data)
    found["settings"] = said(choice.settings)
    found["density"] = density
    found["facts"] = {name: round(value, 4) for name, value in choice.fitted.facts.items()}
    return found


def said(settings: Mapping[str, Any]) -> str:
    """Return settings as one line."""
    named = {
        key: getattr(value, "__name__", getattr(value, "name", value))
        for key, value in settings.items()
    }
    return ", ".join(f"{key} {value}" for key, value in named.items())


@lru_cache(maxsize=2)  # cells of one split come one after the other
def _exact(name: str, index: int, folder: Path | None) -> Choice:
    data = split(load(name, folder), index)
    return choose(EXACT, data.X, data.y, seed=index)


def _beside(chosen: Choice, post: Predictive, data: Split) -> dict[str, float]:
    """Return how far mean and spread are from the exact process's, in its standard deviations."""
    exact = chosen.fitted.predict(torch.as_tensor(data.X_test, dtype=torch.float64))
    std = exact.epistemic_variance.sqrt().clamp(min=1e-12)
    return {
        "mean off exact": float(((post.mean - exact.mean) / std).square().mean().sqrt()),
        "spread to exact": float((post.epistemic_variance.sqrt() / std).median()),
    }
