"""What the trials of one format came to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from benchmarks.fuzzing.file_format import FileFormat
from benchmarks.fuzzing.trial import ACCEPTED, REFUSED, Trial, allowed_memory

_FINDINGS_KEPT = 20


def tally(file_format: FileFormat, trials: Iterable[Trial], wall_seconds: float) -> dict[str, Any]:
    """Return counts and worst cases, as JSON can hold them.

    Args:
        file_format: what was read.
        trials: what came of each file.
        wall_seconds: that all of them took.

    Returns:
        The record: `findings` counts the files that were neither accepted nor refused cleanly, and
        `examples` are the first of each kind.
    """
    outcomes: Counter[str] = Counter()
    examples: dict[str, dict[str, Any]] = {}
    slowest = largest = share = 0.0
    for trial in trials:
        outcomes[trial.outcome] += 1
        slowest = max(slowest, trial.seconds)
        largest = max(largest, trial.memory)
        share = max(share, trial.memory / allowed_memory(trial.size))
        if trial.outcome not in {ACCEPTED, REFUSED}:
            kind = f"{trial.outcome}: {re.sub(r'[0-9]+', '#', trial.said)[:80]}"
            examples.setdefault(kind, {"number": trial.number, "said": trial.said})
    total = outcomes.total()
    return {
        "format": file_format.name,
        "readers": file_format.readers,
        "inputs": total,
        "outcomes": dict(outcomes),
        "findings": total - outcomes[ACCEPTED] - outcomes[REFUSED],
        "worst_seconds": slowest,
        "worst_memory": largest,
        "worst_share": share,
        "seconds": wall_seconds,
        "examples": dict(list(examples.items())[:_FINDINGS_KEPT]),
    }


def row(record: dict[str, Any]) -> tuple[str, ...]:
    """Return a tally as a row of the report."""
    outcomes = record["outcomes"]
    wrong = record["findings"] - outcomes.get("hang", 0) - outcomes.get("crash", 0)
    wrong -= outcomes.get("memory", 0)
    return (
        record["format"],
        record["readers"],
        f"{record['inputs']:,}",
        f"{outcomes.get(ACCEPTED, 0):,}",
        f"{outcomes.get(REFUSED, 0):,}",
        str(outcomes.get("hang", 0)),
        str(outcomes.get("crash", 0)),
        str(outcomes.get("memory", 0)),
        str(wrong),
        f"{record['worst_seconds']:.2g}",
        f"{record['worst_memory'] / 2**20:.0f}",
        f"{record['worst_share']:.2f}",
    )


COLUMNS = (
    "format",
    "read by",
    "files",
    "accepted",
    "refused cleanly",
    "hangs",
    "crashes",
    "memory beyond the limit",
    "other faults",
    "worst seconds",
    "worst MiB",
    "worst share of limit",
)
