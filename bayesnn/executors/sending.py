"""Objects as bytes, between processes of one run; never in a file."""

from __future__ import annotations

import traceback
from typing import Any

import cloudpickle  # classes of scripts and notebooks too, which plain pickling cannot send


def packed(value: object, name: str) -> bytes:
    """Return an object as bytes.

    Args:
        value: what is to be sent.
        name: what the error calls it.

    Returns:
        Bytes for `unpacked`.

    Raises:
        TypeError: it holds something that other processes cannot have.
    """
    try:
        return bytes(cloudpickle.dumps(value))
    except Exception as error:  # an object may raise anything
        raise TypeError(
            f"executor: {name} cannot be sent to other processes ({error}); expected data, "
            "modules and functions, without open files, locks or the like."
        ) from error


def unpacked(sent: bytes) -> Any:
    """Return the object that `packed` was given; only for bytes of a process of the same run."""
    return cloudpickle.loads(sent)


def packed_error(error: Exception) -> bytes:
    """Return an exception as bytes, with its traceback as a note.

    Args:
        error: what work raised.

    Returns:
        Bytes for `unpacked`: the exception, or a RuntimeError in its words where it cannot be
        rebuilt elsewhere.
    """
    told = "".join(traceback.format_exception(error))
    error.add_note(f"In a worker:\n{told}")
    try:
        sent = bytes(cloudpickle.dumps(error))
        if not isinstance(cloudpickle.loads(sent), type(error)):
            sent = b""
    except Exception:  # noqa: BLE001  # an exception's own pickling may raise anything
        sent = b""
    return sent or bytes(cloudpickle.dumps(RuntimeError(told)))
