"""Inputs as they come: arrays, tensors, memory-mapped files, loaders; each part checked once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

READ_BYTES = 2**24  # of a memory-mapped array at a time


@dataclass(frozen=True, kw_only=True)
class InputCheck:
    """Turns points to predict into a tensor, or raises the error that says what is wrong.

    Floating arrays and tensors of the right shape that hold finite numbers pass at once; all else
    goes to scikit-learn's validation, which converts it or refuses it.

    Attributes:
        shape: of one point.
        validate: scikit-learn's validation, values -> array; it raises ValueError.
        by_name: the columns have names, which every table must be compared with.
    """

    shape: tuple[int, ...]
    validate: Callable[[Any], Any]
    by_name: bool = False

    def __call__(self, values: Any) -> Tensor:
        """Return the points as a floating tensor [n, *shape]; tensors stay on their device."""
        if not self.accepts(values):
            if isinstance(values, Tensor):
                values = _for_numpy(values)
            values = self.validate(values)
        if isinstance(values, Tensor):
            return values.detach()
        # a copy: torch cannot hold read-only or negatively strided memory
        return torch.from_numpy(np.array(values, order="C"))

    def accepts(self, values: Any) -> bool:
        """Return whether the values need no validation."""
        if self.by_name or values.__class__ not in {np.ndarray, np.memmap, Tensor}:
            return False
        if values.shape[1:] != self.shape or not len(values):
            return False
        if isinstance(values, Tensor):
            known = values.dtype in {torch.float32, torch.float64}
            return known and values.layout == torch.strided and bool(values.isfinite().all())
        known = values.dtype.kind == "f" and values.dtype.itemsize in {4, 8}
        # a sum takes no memory; it may overflow where all are finite, so what fails is looked at
        return known and values.dtype.isnative and _finite(values)


def batches(X: Any, check: InputCheck) -> Iterator[Tensor]:
    """Yield X in parts, each checked.

    Arrays and tensors are checked whole before the first part. Memory-mapped arrays are read and
    checked part by part, loaders and iterators batch by batch: never whole.

    Args:
        X: an array, a table, a tensor, a memory-mapped array; a `torch.utils.data.DataLoader` or
            another iterable of batches, each one such or a tuple that begins with one.
        check: of each part.

    Yields:
        Points [b, *shape], on the device where they were.

    Raises:
        ValueError: what `check` refuses, or an iterable without batches.
    """
    if isinstance(X, np.memmap) and X.ndim > 0 and len(X) > 0:
        yield from _mapped(X, check)
    elif _is_loader(X):
        yield from _loaded(X, check)
    elif isinstance(X, np.ndarray) and check.accepts(X):
        for first in range(0, len(X), rows := _rows(X)):
            yield torch.from_numpy(np.array(X[first : first + rows], order="C"))
    else:
        yield check(X)


def _mapped(X: Any, check: InputCheck) -> Iterator[Tensor]:
    rows = _rows(X)
    for first in range(0, len(X), rows):
        part = np.array(X[first : first + rows])
        yield _named(f"rows {first} to {first + len(part) - 1}", check, part)


def _loaded(X: Iterable[Any], check: InputCheck) -> Iterator[Tensor]:
    number = -1
    for number, batch in enumerate(X):
        first = batch[0] if isinstance(batch, tuple | list) and len(batch) else batch
        yield _named(f"batch {number}", check, first)
    if number < 0:
        raise ValueError(
            "X: expected at least one batch, the iterable gave none; a generator can be read "
            "only once."
        )


def _named(part: str, check: InputCheck, values: Any) -> Tensor:
    try:
        return check(values)
    except ValueError as error:
        raise ValueError(f"X, {part}: {error}") from error


def _is_loader(X: Any) -> bool:
    """Return whether X gives batches; lists and whatever numpy understands are arrays."""
    if isinstance(X, Sequence | Mapping | Set | np.generic) or not isinstance(X, Iterable):
        return False
    arrays = ("shape", "__array__", "__array_interface__", "__dataframe__")
    return not any(hasattr(X, name) for name in arrays)


def _rows(X: Any) -> int:
    return max(1, READ_BYTES // max(1, int(X[:1].nbytes)))


def _finite(values: Any) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum()) or np.isfinite(values).all())


def _for_numpy(values: Tensor) -> Any:
    if values.layout != torch.strided:
        raise ValueError(f"X: expected a dense tensor, got {values.layout}; use .to_dense().")
    values = values.detach().cpu()
    if values.dtype in {torch.float16, torch.bfloat16}:
        values = values.float()
    return values.numpy()
