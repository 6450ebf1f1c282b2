"""Every figure of every slice, kept in one JSON file that runs add to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

Record: TypeAlias = dict[str, Any]
"""set, views, method and slice, and what was found there: or `error`, why nothing was."""
KEY = ("set", "views", "method", "slice")


def joined(earlier: Iterable[Record], later: Iterable[Record]) -> list[Record]:
    """Return both, where a later run of a slice replaces the earlier one.

    What went wrong in an earlier run of a method is forgotten where a later one has anything of
    the same method and scan; a slice that went well is not replaced by a failure.

    Example:
        >>> good = {"set": "A", "views": 60, "method": "tv", "slice": 0, "seconds": 1.0}
        >>> bad = {"set": "A", "views": 60, "method": "tv", "slice": 0, "error": "no"}
        >>> joined([bad], [good]) == joined([good], [bad]) == [good]
        True
    """
    kept: dict[tuple[Any, ...], Record] = {}
    later = list(later)
    touched = {_place(record)[:-1] for record in later}
    for record in earlier:
        if "error" not in record or _place(record)[:-1] not in touched:
            kept[_place(record)] = record
    for record in later:
        place = _place(record)
        if "error" not in record or "error" in kept.get(place, record):
            kept[place] = record
    return list(kept.values())


def _place(record: Record) -> tuple[Any, ...]:
    return tuple(record[key] for key in KEY)
