"""What the cells of all splits say together: means, errors and paired differences by set."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.comparison.paired import Difference, over_splits
from benchmarks.record_file import Record
from benchmarks.regression.listed import FAMILY
from benchmarks.regression.uci_data import TRAIN_SHARE

BEST = "best NTKGP ensemble"
"""On each split the member of the family with the smallest validation NLL."""


@dataclass(frozen=True, kw_only=True)
class SetSummary:
    """One set's cells.

    Attributes:
        name: of the set.
        by_method: records by method and split; the best of the family is a method too.
        failed: methods and splits without a result, with the reason.
    """

    name: str
    by_method: Mapping[str, Mapping[int, Record]]
    failed: Mapping[tuple[str, int], str]

    def mean(self, method: str, what: str) -> float:
        """Return the mean over splits; NaN where no split has it."""
        values = self._values(method, what)
        return float(np.mean(values)) if values else math.nan

    def standard_error(self, method: str, what: str) -> float:
        """Return the standard error of the mean, as publications quote it: s/√splits."""
        values = self._values(method, what)
        return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0

    def against_best(self, method: str, what: str = "nll") -> Difference | None:
        """Return a score minus that of the best NTKGP ensemble; None of fewer than two splits."""
        ours, theirs = self.by_method.get(BEST, {}), self.by_method.get(method, {})
        common = sorted(set(ours) & set(theirs))
        if len(common) < 2 or method == BEST:
            return None
        return over_splits(
            [theirs[i][what] for i in common],
            [ours[i][what] for i in common],
            test_share=1 - TRAIN_SHARE,
        )

    def methods(self) -> list[str]:
        """Return the methods that have results, the smallest mean NLL first."""
        return sorted(self.by_method, key=lambda method: self.mean(method, "nll"))

    def _values(self, method: str, what: str) -> list[float]:
        found = self.by_method.get(method, {})
        values = [record.get(what, record["facts"].get(what)) for record in found.values()]
        return [value for value in values if value is not None and math.isfinite(value)]


def summaries(records: Iterable[Record]) -> list[SetSummary]:
    """Return a summary of each set, in the order in which sets come."""
    by_set: dict[str, dict[str, dict[int, Record]]] = {}
    failed: dict[str, dict[tuple[str, int], str]] = defaultdict(dict)
    for record in records:
        methods = by_set.setdefault(record["data"], {})
        if "error" in record:
            failed[record["data"]][record["method"], record["split"]] = record["error"]
        else:
            methods.setdefault(record["method"], {})[record["split"]] = record
    for methods in by_set.values():
        best = _best(methods)
        if best:
            methods[BEST] = best
    return [
        SetSummary(name=name, by_method=methods, failed=failed[name])
        for name, methods in by_set.items()
    ]


def _best(methods: Mapping[str, Mapping[int, Record]]) -> dict[int, Record]:
    """Return, of each split that all of the family have, the record with least validation NLL."""
    family = [methods[name] for name in FAMILY if name in methods]
    if len(family) < len(FAMILY):
        return {}
    splits = set.intersection(*(set(one) for one in family))
    return {
        i: min((one[i] for one in family), key=lambda record: record["validation nll"])
        for i in sorted(splits)
    }
