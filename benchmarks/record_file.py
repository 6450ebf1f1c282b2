"""Records of single runs in one JSON file that later runs add to, whatever ended the earlier."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

from bayesnn.files import atomic_write

Record: TypeAlias = dict[str, Any]


def read_records(path: Path) -> list[Record]:
    """Return what an earlier run left; nothing, if there was none."""
    if not path.is_file():
        return []
    records: list[Record] = json.loads(path.read_text())
    return records


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write all, one record a line."""
    lines = ",\n".join(json.dumps(record) for record in records)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(f"[\n{lines}\n]\n")
