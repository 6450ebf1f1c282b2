"""One cell: one method on one split of one set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.comparison.cells import Cell
from benchmarks.image_classes.budget import Budget
from benchmarks.image_classes.choice import Validation, best_setting, judge
from benchmarks.image_classes.corruptions import LEVELS, STRENGTHS, corrupted
from benchmarks.image_classes.data import SETS, ImageSet, Split, block_counts, fashion, split
from benchmarks.image_classes.functions import Functions, Training, Units, in_parts
from benchmarks.image_classes.letters import LIKE_DIGITS, draw_letters
from benchmarks.image_classes.methods import METHODS
from benchmarks.image_classes.scores import (
    accuracy_by_confidence,
    entropy_counts,
    inside_scores,
    outside_scores,
    risks,
)
from benchmarks.image_classes.surrogates import surrogates
from benchmarks.image_classes.uncertainty import ENTROPY, uncertainties
from benchmarks.record_file import Record

Images = NDArray[np.float64]
FASHION, LETTERS, ALIKE = "Fashion-MNIST", "letters", "letters like digits"


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A method with the setting that validation chose.

    Attributes:
        functions: of the members that are scored.
        said: the setting.
        temperature: T, of these members.
        uncertainty: by which others are told.
        validation: NLL, and AUROC of the outliers made of validation images.
        candidates: the same of each setting that was tried, by every uncertainty.
    """

    functions: Functions
    said: str
    temperature: float
    uncertainty: str
    validation: Mapping[str, float]
    candidates: Sequence[Record]


def run_cell(
    cell: Cell, *, image_set: str, budget: Budget, fashion_folder: Path | None, device: str
) -> Record:
    """Choose, fit and score; a split's seed is its number."""
    torch.backends.cudnn.deterministic = True  # a GPU's numbers are the same twice
    images = _read(image_set)
    parts = split(images.labels, seed=cell.split)
    fitted, units = fit_chosen(
        cell.method, images, parts, budget=budget, seed=cell.split, device=device
    )
    others = outside_images(images.side, budget, fashion_folder, seed=cell.split)
    test, y = images.images[parts.test], torch.from_numpy(images.labels[parts.test])
    on = torch.cuda.get_device_name() if device.startswith("cuda") else device
    return {"device": on, **scored(fitted, units, test, y, others, seed=cell.split)}


@lru_cache(maxsize=1)
def _read(image_set: str) -> ImageSet:
    """Return a set, read once a process: MNIST's text file takes seconds."""
    return SETS[image_set]()


def fit_chosen(
    method: str, images: ImageSet, parts: Split, *, budget: Budget, seed: int, device: str
) -> tuple[Fitted, Units]:
    """Choose a setting on the validation part and fit it; test images have no part in it."""
    units = Units.of(images.images[parts.train], device)
    labels = torch.from_numpy(images.labels).to(device)
    held = images.images[parts.validation]
    validation = Validation(
        x=units(held),
        y=labels[parts.validation],
        outliers={
            name: units(some)
            for name, some in surrogates(held, images.labels[parts.validation], seed=seed).items()
        },
    )
    training = Training(
        x=units(images.images[parts.train]), y=labels[parts.train], n_members=budget.choosing,
        budget=budget, seed=seed,
    )  # fmt: skip
    candidates = METHODS[method][: budget.candidates]
    judged = [judge(one.fit(training), validation) for one in candidates] if candidates[1:] else []
    best = candidates[best_setting(judged) if judged else 0]
    functions = best.fit(replace(training, n_members=budget.members))
    found = judge(functions, validation)
    fitted = Fitted(
        functions=functions,
        said=best.said,
        temperature=found.temperature,
        uncertainty=found.uncertainty,
        validation={"nll": found.nll, "auroc": found.auroc[found.uncertainty]},
        candidates=[
            {"setting": one.said, "nll": of.nll, "auroc": dict(of.auroc)}
            for one, of in zip(candidates, judged, strict=False)
        ],
    )
    return fitted, units


@lru_cache(maxsize=1)
def outside_images(
    side: int, budget: Budget, folder: Path | None, *, seed: int
) -> dict[str, Images]:
    """Return images of no digit, in the form of a set's own."""
    found: dict[str, Images] = {}
    if folder is not None:
        clothes = fashion(folder)
        rows = np.random.default_rng((seed, 2)).permutation(len(clothes))[: budget.outside]
        found[FASHION] = block_counts(clothes[rows]) if side == 8 else clothes[rows]
    if side == 8:  # the digits fill their bitmaps of 32×32
        drawn, letter = draw_letters(budget.per_letter, side=32, height=30, seed=seed)
        drawn = block_counts(drawn)
    else:  # MNIST's fill a box of 20
        drawn, letter = draw_letters(budget.per_letter, side=side, height=20, seed=seed)
    alike = np.isin(letter, list(LIKE_DIGITS))
    return {**found, LETTERS: drawn[~alike], ALIKE: drawn[alike]}


def scored(
    fitted: Fitted,
    units: Units,
    test: Images,
    y: Tensor,
    others: Mapping[str, Images],
    *,
    seed: int,
) -> Record:
    """Return every score, as numbers that JSON can hold."""

    def values(images: Images) -> Tensor:
        return in_parts(fitted.functions, units(images))

    temperature, chosen = fitted.temperature, fitted.uncertainty
    inside = values(test)
    outside = {name: values(some) for name, some in others.items()}
    return {
        "setting": fitted.said,
        "temperature": temperature,
        "uncertainty": chosen,
        "validation": dict(fitted.validation),
        "candidates": list(fitted.candidates),
        "inside": inside_scores(inside, y, temperature),
        "outside": {name: outside_scores(inside, v, temperature) for name, v in outside.items()},
        "accuracy_by_confidence": {
            name: accuracy_by_confidence(inside, y, v, temperature) for name, v in outside.items()
        },
        "risks": risks(inside, y, temperature),
        "histogram": {
            name: entropy_counts(v, temperature) for name, v in {"test": inside, **outside}.items()
        },
        "corruption": {
            kind: _by_strength(values, test, y, temperature, kind, seed) for kind in LEVELS
        },
    }


def _by_strength(
    values: Callable[[Images], Tensor],
    test: Images,
    y: Tensor,
    temperature: float,
    kind: str,
    seed: int,
) -> list[dict[str, float]]:
    rows = []
    for strength in STRENGTHS:
        at = values(corrupted(test, kind, strength, seed=seed))
        entropy = uncertainties(at, temperature)[ENTROPY]
        rows.append({**inside_scores(at, y, temperature), "entropy": float(entropy.mean())})
    return rows
