"""Records of single runs in one JSON file that later runs add to, whatever ended the earlier."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

from bayesnn.files import atomic_write
from bayesnn.plain_json import parse_json

Record: TypeAlias = dict[str, Any]


def read_records(path: Path) -> list[Record]:
    """Return what an earlier run left; nothing, if there was none.

    Raises:
        ValueError: the file holds anything but a list of records.
    """
    if not path.is_file():
        return []
    try:
        records = parse_json(path.read_bytes())
    except ValueError as error:
        raise ValueError(
            f"{path}: expected records of earlier runs ({error}); delete it to start again."
        ) from error
    if not isinstance(records, list) or not all(isinstance(one, dict) for one in records):
        raise ValueError(
            f"{path}: expected a list of records, found other JSON; delete it to start again."
        )
    return records


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write all, one record a line."""
    lines = ",\n".join(json.dumps(record) for record in records)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(f"[\n{lines}\n]\n")
