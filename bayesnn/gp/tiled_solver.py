"""Solves with K + σ²I in tiles, which say so where they do not converge."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.gp.conjugate_gradients import Solution, conjugate_gradients
from bayesnn.gp.preconditioner import LowRankPreconditioner
from bayesnn.gp.tiles import KernelTiles


@dataclass(frozen=True, kw_only=True)
class TiledSolver:
    """K + σ²I in tiles, its preconditioner, and when a solve is done.

    Attributes:
        tiles: K + σ²I.
        preconditioner: of K + σ²I.
        tolerance: relative residual of all solves.
        max_iterations: of a solve.
    """

    tiles: KernelTiles
    preconditioner: LowRankPreconditioner
    tolerance: float
    max_iterations: int

    def solve(
        self, columns: Float[Tensor, "n s"], tolerance: Float[Tensor, " s"] | None = None
    ) -> Solution:
        """Return (K + σ²I)⁻¹ times each column, all at once.

        Args:
            columns: right-hand sides.
            tolerance: relative residual of each; the solver's own if None.

        Warns:
            RuntimeWarning: some column ended above the tolerance.
        """
        if tolerance is None:
            tolerance = columns.new_full((columns.shape[1],), self.tolerance)
        with torch.no_grad():
            solution = conjugate_gradients(
                self.tiles,
                self.preconditioner.solve,
                columns,
                tolerance=tolerance,
                max_iterations=self.max_iterations,
            )
        if not solution.converged:
            excess = solution.residuals / tolerance
            worst = int(excess.argmax())
            warnings.warn(
                f"conjugate gradients: stopped after {solution.iterations} iterations with a "
                f"relative residual of {float(solution.residuals[worst]):.1e} where "
                f"{float(tolerance[worst]):.1e} was asked for, {int((excess > 1).sum())} of "
                f"{columns.shape[1]} columns unfinished; raise max_iterations, "
                "preconditioner_rank, noise_std or tolerance, or store tiles in float64.",
                RuntimeWarning,
                stacklevel=3,
            )
        return solution
