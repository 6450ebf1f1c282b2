"""Arrays of numpy.save."""

from __future__ import annotations

import struct
import tokenize
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from ct.data.file_start import NPY, read_start
from ct.data.shown import shown
from ct.data.stack import Stack, check_real, stack_shape

_ERRORS = (
    ArithmeticError, AttributeError, EOFError, LookupError, OSError, RecursionError, SyntaxError,
    TypeError, ValueError, tokenize.TokenError,
)  # fmt: skip
"""What NumPy raises where a header is no header: it is read as a Python literal."""


def load_npy(path: Path) -> Shaped[np.ndarray, "*shape"]:
    """Return the real numbers of a .npy file, left on disk until they are used.

    Raises:
        ValueError: it is of another kind, truncated, or holds objects, text or complex numbers.
    """
    _check_start(path)
    try:
        with warnings.catch_warnings(), np.errstate(over="ignore"):  # of sizes multiplied
            warnings.simplefilter("ignore")  # of headers of Python 2, of odd escapes in them
            values = np.load(path, mmap_mode="r", allow_pickle=False)
    except MemoryError:  # of Python's parser, which has a small stack
        raise ValueError(
            f"{path}: expected a .npy file, but its header is nested too deeply; save the array "
            "again with numpy.save."
        ) from None
    except _ERRORS as error:
        raise ValueError(
            f"{path}: expected a whole .npy file of numbers, but it is damaged, truncated or holds "
            f"Python objects ({shown(error) or type(error).__name__}); save the array again with "
            "numpy.save."
        ) from error
    check_real(values.dtype, path)
    return np.asarray(values) if values.ndim == 0 else values


def _check_start(path: Path) -> None:
    """Refuse archives and pickles, which NumPy would open, and headers longer than their file."""
    start = read_start(path)
    if not start.startswith(NPY):
        raise ValueError(
            f"{path}: expected a .npy file, found another kind of file; save one array with "
            "numpy.save."
        )
    kind = "<H" if start[6:7] == b"\1" else "<I"
    (length,) = struct.unpack_from(kind, start.ljust(12, b"\0"), 8)
    if length > path.stat().st_size:
        raise ValueError(
            f"{path}: expected a whole .npy file, found {path.stat().st_size} bytes and a header "
            f"of {length}; it is damaged or truncated: save the array again with numpy.save."
        )


def npy_stack(path: Path, what: str) -> Stack:
    """Open a matrix or a stack of matrices.

    Args:
        path: the .npy file.
        what: what was expected, for the message.

    Returns:
        The slices.

    Raises:
        ValueError: truncated, no real numbers, or of another number of dimensions.
    """
    values = load_npy(path)
    shape = stack_shape(values.shape, path, what)
    stack = values[None] if values.ndim == 2 else values
    return Stack(
        path=path,
        shape=shape,
        load=lambda index: stack[index],
        kind=".npy",
        whole=values.dtype.kind in "biu",
    )
