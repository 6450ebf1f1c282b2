"""Checks of what users hand in: one clear error before work starts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import ArrayLike


def as_finite_tensor(
    value: ArrayLike | Tensor, name: str, *, ndim: Collection[int], dtype: torch.dtype | None = None
) -> Tensor:
    """Turn numpy- or torch-like input into a floating tensor that holds finite numbers only.

    Args:
        value: array, tensor or nested sequence of real numbers.
        name: what the user calls it; the error messages begin with it.
        ndim: the numbers of dimensions that are allowed.
        dtype: floating type of the result; by default float64 stays and all else becomes float32.

    Returns:
        The values as a tensor on their own device.

    Raises:
        ValueError: not numeric, complex, empty, of another number of dimensions, NaN or infinite.

    Example:
        >>> as_finite_tensor([1, 2], "y", ndim=(1,))
        tensor([1., 2.])
    """
    tensor = _as_real_tensor(value, name)
    if tensor.ndim not in ndim:
        wanted = " or ".join(str(n) for n in ndim)
        raise ValueError(
            f"{name}: expected {wanted} dimensions, got shape {tuple(tensor.shape)}; reshape it."
        )
    if tensor.numel() == 0:
        raise ValueError(f"{name}: expected at least one value, got shape {tuple(tensor.shape)}.")
    if dtype is None:
        dtype = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    tensor = tensor.to(dtype)
    ends = torch.stack(tensor.aminmax())  # NaN where any is; no array of the values' size
    if not bool(torch.isfinite(ends).all()):
        finite = torch.isfinite(tensor)
        n_bad = int((~finite).sum())
        first = tuple(int(i) for i in torch.nonzero(~finite)[0])
        raise ValueError(
            f"{name}: expected finite numbers, got {n_bad} NaN or infinite of {tensor.numel()} "
            f"(the first at index {first}); remove or impute them."
        )
    return tensor


def _as_real_tensor(value: ArrayLike | Tensor, name: str) -> Tensor:
    if not isinstance(value, Tensor):
        try:
            array = np.asarray(value)
            if array.dtype == object:
                array = array.astype(np.float64)
            if array.dtype.kind not in "biuf":
                raise TypeError(f"dtype {array.dtype}")
            if not array.dtype.isnative or array.dtype.itemsize > 8:
                array = array.astype(np.float64)  # what torch cannot hold
            # a copy: torch cannot hold read-only or negatively strided memory
            value = torch.from_numpy(np.array(array, order="C"))
        except (OverflowError, TypeError, ValueError) as error:
            raise ValueError(f"{name}: expected an array of real numbers, got {error}.") from error
    if value.is_complex():
        raise ValueError(f"{name}: expected real numbers, got complex ones; pass .real.")
    return value.detach()


def check_positive(value: Any, name: str) -> float:
    """Return `value` as a float if it is a finite number above zero.

    Raises:
        ValueError: it is zero, negative, NaN, infinite or no number.

    Example:
        >>> check_positive(1, "pixel_size")
        1.0
    """
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name}: expected a finite number above 0, got {value!r:.40}.")
    return number


def check_count(value: Any, name: str, *, minimum: int = 1) -> int:
    """Return `value` as an int if it is a whole number of at least `minimum`.

    Raises:
        ValueError: it is no whole number, or too small.

    Example:
        >>> check_count(20, "n_members")
        20
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
        raise ValueError(
            f"{name}: expected a whole number of at least {minimum}, got {value!r:.40}."
        )
    return int(value)
