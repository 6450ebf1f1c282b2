"""Labels of any type as numbers of sorted classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets
from torch import Tensor


def class_codes(
    y: NDArray[Any], *, known: NDArray[Any] | None = None
) -> tuple[NDArray[Any], Int[Tensor, " n"]]:
    """Return the classes, sorted, and the number of each row's class.

    Args:
        y: labels, [n].
        known: the classes, sorted, of a fit that is gone on with; None finds them in y.

    Returns:
        Classes, and codes from 0.

    Raises:
        ValueError: y that is no class, of one class alone, or of classes that are not known.

    Example:
        >>> classes, codes = class_codes(np.array(["low", "high", "low"]))
        >>> classes.tolist(), codes.tolist()
        (['high', 'low'], [1, 0, 1])
    """
    check_classification_targets(y)
    if known is not None:
        unknown = np.setdiff1d(y, known).tolist()
        if unknown:
            raise ValueError(
                f"y: expected classes of the last fit with warm_start=True, got {unknown[:5]} "
                "too; set warm_start=False."
            )
        return known, torch.from_numpy(np.searchsorted(known, y))
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) == 1:
        raise ValueError(
            f"y: expected at least 2 classes, got one, {classes.tolist()[0]!r}, alone."
        )
    return classes, torch.from_numpy(codes.astype(np.int64))
