"""Kept cells are gone on from only while their method may try what it could then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.image_classes.functions import Candidate
from benchmarks.record_file import Record, read_records, write_records


def forget_other_candidates(
    kept: Path, methods: Mapping[str, Sequence[Candidate]], count: int
) -> list[Record]:
    """Drop the records of methods that chose among other settings, so that they are run again.

    Args:
        kept: file of records; it is written anew where any is dropped.
        methods: the settings of each method.
        count: how many of them may be tried.

    Returns:
        What was dropped.
    """

    def stale(record: Record) -> bool:
        tried = [one["setting"] for one in record.get("candidates", ())]
        known = [one.said for one in methods.get(record["method"], ())[:count]]
        return bool(tried) and tried != known

    records = read_records(kept)
    dropped = [record for record in records if stale(record)]
    if dropped:
        write_records(kept, [record for record in records if not stale(record)])
    return dropped
