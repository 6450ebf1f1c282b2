"""A preconditioner for K + σ²I: a low-rank approximation of K from a few of its columns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from bayesnn.gp.regression import Kernel, kernel_diagonal

BLOCK = 256  # columns at a time, at most
ROUNDS = 8  # at least so many rounds of choosing pivots


@dataclass(frozen=True, kw_only=True)
class LowRankPreconditioner:
    """P = U S² Uᵀ + σ²I with orthonormal U, close to K + σ²I where K's spectrum decays.

    Attributes:
        basis: U.
        eigenvalues: S², of the low-rank approximation.
        noise_variance: σ².
    """

    basis: Float64[Tensor, "n r"]
    eigenvalues: Float64[Tensor, " r"]
    noise_variance: float

    def solve(self, v: Float64[Tensor, "n s"]) -> Float64[Tensor, "n s"]:
        """Return σ²P⁻¹v = U σ²/(S² + σ²) Uᵀv + (v − U Uᵀv)."""
        inside = self.basis.mT @ v
        outside = torch.addmm(v, self.basis, inside, alpha=-1)
        # what rounding leaves of U in it must be small beside σ²/(S² + σ²)
        again = self.basis.mT @ outside
        damped = self.noise_variance / (self.eigenvalues + self.noise_variance)
        return torch.addmm(outside, self.basis, damped.unsqueeze(1) * inside - again)


def low_rank_preconditioner(
    kernel: Kernel,
    x: Tensor,
    *,
    noise_variance: float,
    rank: int,
    chunk: int,
    generator: torch.Generator,
) -> LowRankPreconditioner:
    """Return the preconditioner of a randomly pivoted partial Cholesky factor FFᵀ ≈ K.

    Pivots are drawn in proportion to what is left of the diagonal (Chen, Epperly, Tropp and Webber,
    2023, arXiv 2207.06503; for this use Díaz, Epperly, Frangella, Tropp and Webber, 2023, arXiv
    2304.12465), in blocks, each of which is factorised by its eigenvectors, so that equal points do
    no harm.

    Args:
        kernel: k(x1, x2=None) -> [n1, n2].
        x: points, [n, ...].
        noise_variance: σ².
        rank: columns of F, at most.
        chunk: side of the blocks from which K's diagonal is taken.
        generator: of the pivots, on the CPU.

    Returns:
        U and S² from F = QR and the eigenvalues of RRᵀ.
    """
    factor = randomly_pivoted_cholesky(
        kernel,
        x,
        kernel_diagonal(kernel, x, chunk=chunk),
        rank=rank,
        enough=noise_variance * 1e-3,
        generator=generator,
    )
    basis, upper = torch.linalg.qr(factor)
    eigenvalues, inner = torch.linalg.eigh(upper @ upper.mT)
    return LowRankPreconditioner(
        basis=basis @ inner,
        eigenvalues=eigenvalues.clamp(min=0.0),
        noise_variance=noise_variance,
    )


def randomly_pivoted_cholesky(
    kernel: Kernel,
    x: Tensor,
    diagonal: Float[Tensor, " n"],
    *,
    rank: int,
    enough: float,
    generator: torch.Generator,
) -> Float64[Tensor, "n r"]:
    """Return F with FFᵀ ≈ K, a Nyström approximation from randomly chosen columns.

    Args:
        kernel: k.
        x: points, [n, ...].
        diagonal: k(x_i, x_i).
        rank: columns of F, at most.
        enough: where no entry of K − FFᵀ's diagonal exceeds it, F is not made wider.
        generator: of the pivots, on the CPU.
    """
    left = diagonal.detach().double()
    rounding = 8 * len(x) * torch.finfo(torch.float64).eps * float(left.max())
    if x.dtype != torch.float64:
        rounding = max(rounding, 8 * torch.finfo(x.dtype).eps * float(left.max()))
    factor = left.new_zeros(len(x), rank)
    filled = 0
    while filled < rank and float(left.max()) > max(enough, rounding):
        size = min(BLOCK, -(-rank // ROUNDS), rank - filled, int((left > 0).sum()))
        pivots = torch.multinomial(left.cpu(), size, generator=generator).to(left.device)
        columns = kernel(x, x[pivots]).detach().double()
        columns -= factor[:, :filled] @ factor[pivots, :filled].mT
        square = columns[pivots]
        values, vectors = torch.linalg.eigh((square + square.mT) / 2)
        kept = values > rounding
        new = columns @ (vectors[:, kept] / values[kept].sqrt())
        factor[:, filled : filled + new.shape[1]] = new
        filled += new.shape[1]
        left = (left - new.square().sum(1)).clamp(min=0.0)
        left[pivots] = 0.0
    return factor[:, :filled]
