"""Configuration files: JSON or TOML with the options' names, and the method's settings."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_config(path: Path, types: Mapping[str, type]) -> dict[str, Any]:
    """Read a configuration file.

    Args:
        path: a file whose name ends in .json or .toml.
        types: the names that may stand in it, spelled with underscores (the file may spell them
            with hyphens, as the command line does), and the types of their values.

    Returns:
        The values by name.

    Raises:
        ValueError: the file is missing, no JSON or TOML object, or holds an unknown name or a
            value of another type.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as text ({error}).") from error
    try:
        if path.suffix == ".toml":
            content = tomllib.loads(text)
        elif path.suffix == ".json":
            content = json.loads(text)
        else:
            raise ValueError("the name must end in .json or .toml")
    except ValueError as error:  # the parsers' errors are ValueErrors too
        raise ValueError(f"{path}: expected a JSON or TOML configuration ({error}).") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected names and values, got {type(content).__name__}.")
    config = {key.replace("-", "_"): value for key, value in content.items()}
    for key, value in config.items():
        if key not in types:
            raise ValueError(f"{path}: unknown {key!r}; known are {', '.join(sorted(types))}.")
        if not _fits(value, types[key]):
            raise ValueError(f"{path}: {key}: expected {types[key].__name__}, got {value!r}.")
    return config


def _fits(value: Any, wanted: type) -> bool:
    if isinstance(value, bool):
        return wanted is bool
    return isinstance(value, wanted) or (wanted is float and isinstance(value, int))
