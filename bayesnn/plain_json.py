"""JSON that others may have written: parsed, or refused with one error."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """Return what a JSON text holds.

    Args:
        text: the text.

    Returns:
        Its value.

    Raises:
        ValueError: it is no JSON, is nested more deeply than Python can follow, holds a number of
            thousands of digits, or a name stands twice in one object.

    Example:
        >>> parse_json('{"a": [1, 2]}')
        {'a': [1, 2]}
    """
    try:
        return json.loads(text, object_pairs_hook=_without_doubles)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        double = max(counts, key=lambda name: counts[name])
        raise ValueError(f"the name {double!r:.40} stands twice")
    return found
