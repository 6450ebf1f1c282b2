"""From the records of all splits to means, errors and differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.comparison.paired import Difference, over_splits
from benchmarks.image_classes.data import TEST_SHARE
from benchmarks.image_classes.methods import OURS
from benchmarks.record_file import Record

FAMILY = "NTKGP family, chosen"
Score = Callable[[Record], float | None]
Records = Mapping[str, Mapping[int, Record]]  # by method and split


@dataclass(frozen=True, kw_only=True)
class Mean:
    """Mean over splits, with the standard deviation over √splits."""

    value: float
    error: float
    count: int


def by_method(records: Sequence[Record]) -> dict[str, dict[int, Record]]:
    """Return the records that hold scores by method and split, and those of the family's choice."""
    found: dict[str, dict[int, Record]] = {}
    for record in records:
        if "seconds" in record:
            found.setdefault(record["method"], {})[record["split"]] = record
    ours = [found[name] for name in OURS if name in found]
    shared = set.intersection(*(set(one) for one in ours)) if len(ours) > 1 else set()
    if shared:
        found[FAMILY] = {s: chosen_of_family([one[s] for one in ours]) for s in sorted(shared)}
    return found


def chosen_of_family(records: Sequence[Record]) -> Record:
    """Return the member of the family that the validation images of this split ask for."""
    return min(records, key=lambda record: record["validation"]["nll"])


def mean_of(splits: Mapping[int, Record], score: Score) -> Mean | None:
    """Return the mean of a score over splits; None where no split has it."""
    values = [value for one in splits.values() if (value := score(one)) is not None]
    if not values:
        return None
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return Mean(
        value=float(np.mean(values)), error=spread / math.sqrt(len(values)), count=len(values)
    )


def difference(
    first: Mapping[int, Record], second: Mapping[int, Record], score: Score
) -> Difference | None:
    """Return first minus second over the splits that both have; None below two of them."""
    pairs = [
        (a, b)
        for split in sorted(set(first) & set(second))
        if (a := score(first[split])) is not None and (b := score(second[split])) is not None
    ]
    if len(pairs) < 2:
        return None
    return over_splits([a for a, _ in pairs], [b for _, b in pairs], test_share=TEST_SHARE)


def inside(name: str) -> Score:
    """Return what reads a score in distribution."""

    def score(record: Record) -> float | None:
        value: float | None = record["inside"].get(name)
        return value

    return score


def outside(images: str, name: str = "auroc", *, uncertainty: str | None = None) -> Score:
    """Return what reads a score out of distribution, by the uncertainty that was chosen."""

    def score(record: Record) -> float | None:
        found = record["outside"].get(images, {}).get(uncertainty or record["uncertainty"])
        return None if found is None else float(found[name])

    return score


def corruption(kind: str, strength: int, name: str) -> Score:
    """Return what reads a score of corrupted test images."""

    def score(record: Record) -> float | None:
        value: float | None = record["corruption"][kind][strength].get(name)
        return value

    return score
