"""Arrays of numpy.save."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from ct.data.stack import Stack, check_real, stack_shape


def load_npy(path: Path) -> Shaped[np.ndarray, "*shape"]:
    """Return the real numbers of a .npy file, left on disk until they are used.

    Raises:
        ValueError: it is truncated, or holds objects, text or complex numbers.
    """
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError, SyntaxError) as error:
        raise ValueError(
            f"{path}: expected a whole .npy file of numbers, but it is damaged, truncated or holds "
            f"Python objects ({error}); save the array again with numpy.save."
        ) from error
    check_real(values.dtype, path)
    return np.asarray(values) if values.ndim == 0 else values


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
