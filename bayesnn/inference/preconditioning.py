"""Preconditioners from products alone: a diagonal, and the largest eigenvalues beside it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.inference.conjugate_gradients import Map
from bayesnn.seeds import seeded_generator


@dataclass(frozen=True, kw_only=True)
class Deflation:
    """M⁻¹ = D^(−½) (I + U (λ_r Λ⁻¹ − I) Uᵀ) D^(−½), for H whose D^(−½)HD^(−½) has pairs (Λ, U).

    What is large comes down to the least eigenvalue λ_r that is known; the rest stays.

    Attributes:
        diagonal: D.
        vectors: U, orthonormal rows.
        factors: λ_r/λ − 1 of each.
    """

    diagonal: Float[Tensor, " n"]
    vectors: Float[Tensor, "rank n"]
    factors: Float[Tensor, " rank"]

    def __call__(self, residual: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n"]:
        """Return M⁻¹ r of each r."""
        root = self.diagonal.sqrt()
        scaled = residual / root
        scaled = scaled + ((scaled @ self.vectors.T) * self.factors) @ self.vectors
        return scaled / root


def deflation(
    apply: Map, diagonal: Float[Tensor, " n"], *, rank: int, at_once: int, seed: int
) -> Deflation:
    """Find the largest eigenvalues of D^(−½)HD^(−½) by a random subspace, and make M⁻¹ of them.

    Two products a vector: one to find the subspace, one to find the eigenvalues in it. A network's
    biases move all pixels at once, so that few eigenvalues tower over all others.

    Args:
        apply: H.
        diagonal: D, about the diagonal of H.
        rank: dimensions of the subspace; 0 for D alone.
        at_once: products side by side, which bounds the memory.
        seed: seed of the subspace.

    Returns:
        The preconditioner.

    Source:
        N. Halko, P. Martinsson, J. Tropp, Finding structure with randomness, SIAM Review 53, 2011.

    Example:
        >>> H = torch.diag(torch.tensor([1e6, 1.0, 1.0])).double()
        >>> ones = torch.ones(3).double()
        >>> precondition = deflation(lambda x: x @ H, ones, rank=2, at_once=1, seed=0)
        >>> precondition(H).diagonal().round(decimals=3)
        tensor([1., 1., 1.], dtype=torch.float64)
    """
    rank = min(rank, diagonal.numel())
    if rank == 0:
        none = diagonal.new_zeros(0)
        return Deflation(
            diagonal=diagonal, vectors=diagonal.new_zeros(0, len(diagonal)), factors=none
        )
    root = diagonal.sqrt()

    def scaled(vectors: Tensor) -> Tensor:
        return torch.cat([apply(part / root) / root for part in torch.split(vectors, at_once)])

    start = torch.randn(rank, diagonal.numel(), generator=seeded_generator(seed)).to(diagonal)
    basis = torch.linalg.qr(scaled(start).T).Q.T
    inner = (basis @ scaled(basis).T).double()
    values, turn = torch.linalg.eigh((inner + inner.T) / 2)
    # rounding may leave eigenvalues of a semidefinite matrix below zero
    values = values.clamp(min=float(values[-1]) * torch.finfo(diagonal.dtype).eps)
    return Deflation(
        diagonal=diagonal,
        vectors=turn.T.to(basis) @ basis,
        factors=(values[0] / values - 1).to(diagonal),
    )
