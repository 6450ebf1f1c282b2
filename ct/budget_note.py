"""What is said where even the smallest piece of work takes more than a memory budget."""

from __future__ import annotations

import warnings

_ALLOWED = 1.1  # times the budget


def note_least(needed: float, given: int | None, what: str) -> None:
    """Warn, before work starts, where one piece of it takes more than the budget that was given.

    It is done all the same, alone.

    Args:
        needed: bytes that it may take, roughly.
        given: bytes, as the user said; None where nobody did.
        what: the piece: "a member".

    Warns:
        RuntimeWarning: it takes more.

    Example:
        >>> note_least(500, 1000, "a member")
    """
    if given is None or needed <= _ALLOWED * given:
        return
    warnings.warn(
        f"memory budget: expected room for {what}, which alone may take {_size(needed)}, got "
        f"{_size(given)}; it is done alone and takes what it needs. Give more, or smaller images.",
        RuntimeWarning,
        stacklevel=3,
    )


def _size(n_bytes: float) -> str:
    for unit in ("B", "kB", "MB"):
        if n_bytes < 999.5:
            return f"{n_bytes:.2g} {unit}" if n_bytes < 99.5 else f"{n_bytes:.0f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.2g} GB"
