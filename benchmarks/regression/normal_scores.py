"""Each column a second time, as normal scores: skewed columns become as even as Gaussian ones."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri


def with_normal_scores(
    train: Float[np.ndarray, "n d"], rows: Float[np.ndarray, "m d"]
) -> Float[np.ndarray, "m 2d"]:
    """Return rows with z_j = Φ⁻¹((rank_j + ½)/(n + 1)) appended for each column j.

    The rank is among the training rows alone: how many lie below, and half of those that are
    equal. Rows beyond all of them get the scores of rank 0 or n.

    Args:
        train: the rows that say what is usual.
        rows: what is transformed; may be the training rows themselves.
    """
    n = len(train)
    scores = np.empty(rows.shape)
    for j, column in enumerate(np.sort(train, axis=0).T):
        below = np.searchsorted(column, rows[:, j], side="left")
        up_to = np.searchsorted(column, rows[:, j], side="right")
        scores[:, j] = ndtri(((below + up_to) / 2 + 0.5) / (n + 1))
    return np.column_stack((rows, scores))
