"""What a run may end in without ending the others, and how that is said."""

from __future__ import annotations

FAILURES = (
    ArithmeticError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def said(error: BaseException) -> str:
    """Return an error as one short line."""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}"[:200]
