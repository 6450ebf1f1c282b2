"""Configuration files: JSON or TOML with the options' names, and the method's settings."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bayesnn.plain_json import parse_json
from ct.data.file_start import read_start
from ct.data.shown import shown

_LARGEST = 2**20
"""Bytes of a configuration; what would be made of more of them takes many times their size."""

_MOST_BITS = 64


@dataclass(frozen=True, kw_only=True)
class ConfigFile:
    """What a configuration file says.

    Attributes:
        values: the values by name, spelled with underscores.
        typed: each name as errors are to say it: the file, and how it is spelled there.
    """

    values: dict[str, Any]
    typed: dict[str, str]


def read_config(path: Path, types: Mapping[str, type]) -> ConfigFile:
    """Read a configuration file.

    Args:
        path: a file whose name ends in .json or .toml.
        types: the names that may stand in it, spelled with underscores (the file may spell them
            with hyphens, as the command line does), and the types of their values.

    Returns:
        What it says.

    Raises:
        ValueError: the file is missing, no JSON or TOML object, or holds an unknown name, a value
            of another type or a whole number of more than 64 bits.
    """
    read_start(path)
    if path.stat().st_size > _LARGEST:
        raise ValueError(
            f"{path}: expected a configuration of at most {_LARGEST} bytes, found "
            f"{path.stat().st_size}; is it another file?"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as text ({error}).") from error
    try:
        if path.suffix == ".toml":
            content = _toml(text)
        elif path.suffix == ".json":
            content = parse_json(text)
        else:
            raise ValueError("the name must end in .json or .toml")
        _check_whole_numbers(content)
    except ValueError as error:  # the parsers' errors are ValueErrors too
        raise ValueError(
            f"{path}: expected a JSON or TOML configuration ({shown(error)})."
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected names and values, got {type(content).__name__}.")
    for key, value in content.items():
        wanted = types.get(_plain(key))
        if wanted is None:
            raise ValueError(f"{path}: unknown {shown(key, 40)!r}; {_remedy(key, types)}")
        if not _fits(value, wanted):
            raise ValueError(
                f"{path}: {key}: expected {wanted.__name__}, got {shown(repr(value), 40)}."
            )
    return ConfigFile(
        values={_plain(key): value for key, value in content.items()},
        typed={_plain(key): f"{path}: {key}" for key in content},
    )


def _toml(text: str) -> Any:
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _check_whole_numbers(content: Any) -> None:
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list):
            waiting.extend(value.values() if isinstance(value, dict) else value)
        elif isinstance(value, int) and value.bit_length() > _MOST_BITS:
            raise ValueError(f"a whole number in it has {value.bit_length()} bits")


def _plain(key: str) -> str:
    return key.replace("-", "_")


def _remedy(key: str, types: Mapping[str, type]) -> str:
    near = difflib.get_close_matches(_plain(key), types, n=1, cutoff=0.75)
    if near:
        word = near[0].replace("_", "-") if "-" in key else near[0]
        return f"did you mean {word!r}?"
    known = ", ".join(sorted(types))
    return f"known are {known} (a method's own settings stand under 'settings')."


def _fits(value: Any, wanted: type) -> bool:
    if isinstance(value, bool):
        return wanted is bool
    return isinstance(value, wanted) or (wanted is float and isinstance(value, int))
