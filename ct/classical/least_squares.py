"""Weighted least squares for several slices of one scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ct.problem import Problem
from ct.projectors.operator import Projector


@dataclass(frozen=True, kw_only=True)
class LeastSquares:
    """Minimise Σ_i w_i (y_i − (Ax)_i)² for each slice.

    Attributes:
        projector: A.
        sinograms: y, in image units times mm.
        precision: w = 1/σ², zero for rays that were not measured.
    """

    projector: Projector
    sinograms: Float[Tensor, "slices views detectors"]
    precision: Float[Tensor, "slices views detectors"]

    @property
    def n_rays(self) -> Float[Tensor, " slices"]:
        """How many rays were measured, at least one."""
        return (self.precision > 0).sum(dim=(-2, -1)).clamp(min=1).to(self.sinograms)


def least_squares(problems: Sequence[Problem]) -> LeastSquares:
    """Return what problems that share a projector ask for.

    Args:
        problems: one a slice.

    Returns:
        The stack of them.
    """
    noise = torch.stack([problem.noise_std for problem in problems])
    return LeastSquares(
        projector=problems[0].projector,
        sinograms=torch.stack([problem.sinogram for problem in problems]),
        precision=noise.square().reciprocal(),
    )


def sum_of_squares(
    values: Float[Tensor, "slices m n"],
) -> Float[Tensor, "slices 1 1"]:
    """Return ‖·‖² of every slice, shaped so that it multiplies slices."""
    return values.square().sum(dim=(-2, -1), keepdim=True)
