"""Names in errors as the user typed them, where the library calls them otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any


def as_typed(message: str, typed: Mapping[str, str]) -> str:
    """Return a message with the name that it begins with as the user typed it.

    Args:
        message: such as "views: expected …" or "--noise-std: expected …".
        typed: what stands for each name, spelled with underscores.

    Example:
        >>> as_typed("snr_db: expected a number", {"snr_db": "--snr-db"})
        '--snr-db: expected a number'
        >>> as_typed("scan.h5: no such file", {"snr_db": "--snr-db"})
        'scan.h5: no such file'
    """
    name, colon, rest = message.partition(":")
    said = typed.get(name.removeprefix("--").replace("-", "_"))
    return f"{said}:{rest}" if colon and said is not None else message


@contextmanager
def errors_as_typed(typed: Mapping[str, str]) -> Iterator[None]:
    """Spell the names that errors of the block begin with as `as_typed` does.

    Args:
        typed: what stands for each name.

    Raises:
        ValueError: as of the block.
    """
    try:
        yield
    except ValueError as error:
        raise ValueError(as_typed(str(error), typed)) from error


def typed_options(group: Any, arguments: Sequence[str]) -> dict[str, str]:
    """Return the options on a command line as they were typed, by their parameters' names.

    Args:
        group: click's group of all commands.
        arguments: the command line, the command's name first.
    """
    command = group.commands.get(arguments[0]) if arguments else None
    words = {argument.partition("=")[0] for argument in arguments}
    return {
        parameter.name: spelling
        for parameter in getattr(command, "params", ())
        if parameter.param_type_name == "option"
        for spelling in (*parameter.opts, *parameter.secondary_opts)
        if spelling in words
    }
