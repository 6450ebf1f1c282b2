"""What all methods came to on one number of training rows, and who did better than whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from benchmarks.comparison.cells import Record
from benchmarks.comparison.paired import Difference
from benchmarks.flight_delays.methods import BASE, FAMILY, SAME_PRIOR
from benchmarks.flight_delays.scores import Scores, difference, joined, summary
from benchmarks.flight_delays.split import INSIDE, OUT_OF_DISTRIBUTION

OUTSIDE = "out of distribution"
CLEAR = 2.0  # standard errors


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Scores of the methods that did not fail, flight by flight.

    Attributes:
        records: of each method, by name.
        scores: of each method and part.
        day: of each flight of a part.
        month: likewise.
        distance: likewise, from the nearest training row in standardised features.
        failed: reasons, by method.
    """

    records: Mapping[str, Record]
    scores: Mapping[str, Mapping[str, Scores]]
    day: Mapping[str, Int[np.ndarray, " n"]]
    month: Mapping[str, Int[np.ndarray, " n"]]
    distance: Mapping[str, Float[np.ndarray, " n"]]
    failed: Mapping[str, str]

    @property
    def methods(self) -> Sequence[str]:
        """Names of the methods that have scores."""
        return list(self.scores)

    @property
    def best_of_family(self) -> str | None:
        """The NTKGP ensemble of least validation NLL; None where none was run."""
        family = [name for name in FAMILY if name in self.scores]
        return min(family, key=lambda name: self.records[name]["validation_nll"], default=None)

    def of(self, method: str, part: str) -> Scores:
        """Return the scores of one part, or of all that is out of distribution."""
        parts = self.scores[method]
        if part == OUTSIDE:
            return joined([parts[name] for name in OUT_OF_DISTRIBUTION])
        return parts[part]

    def about(self, what: Mapping[str, np.ndarray], part: str) -> np.ndarray:
        """Return days, months or distances of the flights of `of`, in the same order."""
        if part == OUTSIDE:
            return np.concatenate([what[name] for name in OUT_OF_DISTRIBUTION])
        return what[part]

    def summary(self, method: str, part: str) -> dict[str, float]:
        """Return the mean scores."""
        return summary(self.of(method, part))

    def against(
        self, method: str, part: str, score: str = "nll", *, other: str = BASE
    ) -> Difference | None:
        """Return the score less the deep ensemble's (or another's); None where that is absent."""
        if other not in self.scores or method == other:
            return None
        return difference(
            self.of(method, part), self.of(other, part), score, day=self.about(self.day, part)
        )


def lead(outcome: Outcome, rows: int) -> str:
    """Return the first paragraph: the family's best against deep ensembles, and who beats it."""
    best = outcome.best_of_family
    if best is None or BASE not in outcome.scores:
        return f"{rows:,} training rows; no NTKGP ensemble beside a deep ensemble was run."
    said = [f"{rows:,} training rows: of the NTKGP ensembles {best} has the least validation NLL."]
    for other in (BASE, SAME_PRIOR):
        said += _against(outcome, best, other)
    for part in (OUTSIDE, INSIDE):
        ahead, level = [], []
        for name in outcome.methods:
            found = outcome.against(name, part, other=best)
            if found is None or found.mean >= 0:
                continue
            clear = found.standard_errors < -CLEAR
            (ahead if clear else level).append(f"{name} {found.mean:.3f}")
        said.append(
            f"{part}, {best} loses to {_listed(ahead)} by more than {CLEAR:.0f} standard errors, "
            f"and is behind {_listed(level)} by less."
        )
    return " ".join(said)


def _against(outcome: Outcome, method: str, other: str) -> list[str]:
    """Return sentences on NLL and CRPS; none where the other method was not run."""
    if outcome.against(method, INSIDE, other=other) is None:
        return []
    said = [f'NLL a flight less that of "{other}", its standard error clustered by day:']
    for part in (OUTSIDE, INSIDE):
        found = outcome.against(method, part, other=other)
        assert found is not None
        said.append(f"{part} {worded(found)} ({_verdict(found.standard_errors)});")
    crps = (outcome.against(method, part, "crps", other=other) for part in (OUTSIDE, INSIDE))
    minutes = [worded(found) for found in crps if found is not None]
    return [*said, f"CRPS, in minutes: {OUTSIDE} {minutes[0]}, {INSIDE} {minutes[1]}."]


def worded(found: Difference) -> str:
    """Return the mean, its standard error and their ratio."""
    return f"{found.mean:+.4f} ± {found.standard_error:.4f} ({found.standard_errors:+.1f} SE)"


def _verdict(standard_errors: float) -> str:
    if abs(standard_errors) <= CLEAR:
        return "no clear difference"
    return "it wins" if standard_errors < 0 else "it loses"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "no other method"
