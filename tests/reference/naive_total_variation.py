"""Total variation minimised as in a textbook, with dense matrices: slow, for small images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

Array = NDArray[np.float64]


def difference_matrix(rows: int, columns: int) -> Array:
    """Return D [2 · rows · columns, rows · columns]: first all differences down, then right."""
    n = rows * columns
    matrix = np.zeros((2, rows, columns, n))
    for i in range(rows):
        for j in range(columns):
            here = i * columns + j
            if i + 1 < rows:
                matrix[0, i, j, here] -= 1
                matrix[0, i, j, here + columns] += 1
            if j + 1 < columns:
                matrix[1, i, j, here] -= 1
                matrix[1, i, j, here + 1] += 1
    return matrix.reshape(2 * n, n)


def objective(A: Array, y: Array, w: Array, weight: float, D: Array, x: Array, norm: str) -> float:
    field = (D @ x).reshape(2, -1)
    length = np.abs(field).sum() if norm == "anisotropic" else np.hypot(*field).sum()
    return float((w * (A @ x - y) ** 2).sum() / 2 + weight * length)


def anisotropic_minimum(A: Array, y: Array, w: Array, weight: float, D: Array) -> Array:
    """Solve the dual, ½‖H^(−½)(Aᵀwy − Dᵀp)‖² over |p| ≤ λ, where H = AᵀwA has full rank."""
    H = A.T @ (w[:, None] * A)
    values, vectors = np.linalg.eigh(H)
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    right = A.T @ (w * y)
    found = lsq_linear(root @ D.T, root @ right, bounds=(-weight, weight), method="bvls", tol=1e-14)
    return np.linalg.solve(H, right - D.T @ found.x)


def primal_dual_minimum(
    A: Array,
    y: Array,
    w: Array,
    weight: float,
    D: Array,
    *,
    norm: str,
    lower: float = -np.inf,
    upper: float = np.inf,
    iterations: int = 20000,
) -> Array:
    """Chambolle and Pock's Algorithm 1, one step length for all, the bounds a projection."""
    step = 1 / np.sqrt(np.linalg.norm(A.T @ A, 2) + np.linalg.norm(D.T @ D, 2))
    x = ahead = np.zeros(A.shape[1])
    q, p = np.zeros(len(y)), np.zeros(len(D))
    for _ in range(iterations):
        q = w * (q + step * (A @ ahead - y)) / (w + step)
        p = p + step * (D @ ahead)
        if norm == "anisotropic":
            p = p.clip(-weight, weight)
        else:
            length = np.tile(np.hypot(*p.reshape(2, -1)), 2)
            p = p * np.minimum(1, weight / np.maximum(length, 1e-300))
        new = (x - step * (A.T @ q + D.T @ p)).clip(lower, upper)
        x, ahead = new, 2 * new - x
    return x
