"""Cells of runs side by side as those of one run, and the splits that a report may compare."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from benchmarks.record_file import Record, read_records


def joined(files: Iterable[Path]) -> list[Record]:
    """Return the cells of all files.

    A method's cells come from the first file that has any of it, whatever the later ones hold: no
    method is a mixture of two runs, as settings may have changed between them.

    Args:
        files: JSON, one record a line, as `run_cells` keeps them.

    Returns:
        The records, ordered by split.

    Raises:
        ValueError: a file without cells.
    """
    found: list[Record] = []
    known: set[str] = set()
    for file in files:
        records = read_records(file)
        if not records:
            raise ValueError(
                f"--join: expected a file of cells, as --kept writes it, found none in {file}; "
                "give it after --join, one --join a file."
            )
        found += [record for record in records if record["method"] not in known]
        known |= {record["method"] for record in records}
    return sorted(found, key=lambda record: record["split"])


def whole_splits(records: Sequence[Record], methods: Collection[str]) -> list[Record]:
    """Return the records of each set's splits on which all of the methods were run.

    A method that failed was run. Records of other methods on these splits come along.

    Args:
        records: of any sets and splits.
        methods: what a split must have.

    Returns:
        The records that are left, in their order.
    """
    run: dict[tuple[str, int], set[str]] = defaultdict(set)
    for record in records:
        run[record["data"], record["split"]].add(record["method"])
    return [one for one in records if run[one["data"], one["split"]] >= set(methods)]
