"""Whatever ends a run early: what is kept, and how to go on, in one line."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ct.partial_result import PartialResult

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with what was kept."""


@contextmanager
def says_what_is_kept(
    partial: PartialResult, n_slices: int, device: torch.device, *, also_at: str | None = None
) -> Iterator[None]:
    """Say of what ends the block what is kept, and how to go on.

    Args:
        partial: the result in the making.
        n_slices: of the whole work.
        device: that may run out of memory.
        also_at: where slices and states are kept beside the output's folder, if anywhere.

    Yields:
        Nothing.

    Raises:
        Interrupted: Ctrl-C.
        ValueError: the output cannot be written, memory ran out, or workers were lost too often.
    """
    where = f"beside {partial.output}" + ("" if also_at is None else f" and at {also_at}")
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(f"interrupted: {_kept(partial, n_slices, where)}") from error
    except OSError as error:
        remedy = "make room and " if error.errno in _FULL else "mend that and "
        raise ValueError(
            f"{partial.output}: cannot be written ({error.strerror or error}); "
            f"{_kept(partial, n_slices, where, remedy)}"
        ) from error
    except (MemoryError, RuntimeError) as error:
        if str(error).startswith("executor: "):  # such as a cluster without a machine large enough
            raise ValueError(f"{error} {_kept(partial, n_slices, where)}") from error
        # torch says the CPU's in a plain RuntimeError
        if not (isinstance(error, MemoryError | torch.OutOfMemoryError) or "alloc" in str(error)):
            raise
        less = "" if device.type == "cpu" else ", --device cpu"
        raise ValueError(
            f"{device}: out of memory; say a smaller --memory-budget (such as 64MiB), choose a "
            f"smaller --image-size or fewer samples in --config{less}. "
            f"{_kept(partial, n_slices, where)}"
        ) from error


def _kept(partial: PartialResult, n_slices: int, where: str, before: str = "") -> str:
    """Return what is left, and how to go on, with what must be done before."""
    n_kept = sum(len(records) for records in partial.chunks.values())
    has_state = partial.keep_state()
    if not n_kept and not has_state:
        return f"nothing was finished, so nothing is kept; {before}start again."
    if not n_kept:
        return (
            f"no slice is finished, but the state of the first is kept {where}; "
            f"{before}say --resume to go on from it."
        )
    state = ", and the state of the next" if has_state else ""
    return (
        f"{n_kept} of {n_slices} slices are kept {where}{state}; {before}say "
        "--resume to go on with them."
    )
