"""Gaussian-process regression on many points: conjugate gradients over tiles of the kernel."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.checks import check_count, check_positive
from bayesnn.gp.conjugate_gradients import Solution
from bayesnn.gp.memory_plan import MemoryPlan, memory_plan
from bayesnn.gp.preconditioner import low_rank_preconditioner
from bayesnn.gp.regression import (
    Kernel,
    RegressionData,
    as_noise,
    as_points,
    kernel_diagonal,
    regression_data,
)
from bayesnn.gp.tiled_solver import TiledSolver
from bayesnn.gp.tiles import KernelTiles
from bayesnn.predictive import Predictive
from bayesnn.seeds import seeded_generator

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

ATTAINABLE = 1e-12  # relative residual in float64
SOME = 16  # points that stand for all
ROUNDED = 0.1  # of σ²: what rounding of K may change unsaid


@dataclass(frozen=True, kw_only=True)
class IterativeGaussianProcess:
    """A zero-mean Gaussian process that has seen data; build it with `fit_gp_iterative`.

    Attributes:
        kernel: k.
        data: the training data.
        noise_std: σ.
        plan: how the memory is shared.
        solver: v -> (K + σ²I)⁻¹v.
        solution: (K + σ²I)⁻¹y, its iterations and true residuals.
    """

    kernel: Kernel
    data: RegressionData
    noise_std: Tensor
    plan: MemoryPlan
    solver: TiledSolver
    solution: Solution

    def mean(self, x: Float[Tensor, "m ..."]) -> Float[Tensor, "m k"]:
        """Return the posterior mean at checked points, one column an output, chunk by chunk."""
        weights = self.solution.values
        return torch.cat([
            self.kernel(some, self.data.x).to(weights) @ weights for some in self._chunks(x)
        ])

    def posterior(self, x: ArrayLike | Tensor) -> Predictive:
        """Return the distribution of the function and of observations at new points.

        Mean K_*X (K + σ²I)⁻¹ y, and variances k_** − k_*ᵀ(K + σ²I)⁻¹k_*, one solve a point: meant
        for hundreds of points; for more, `bayesnn.gp.pathwise_samples` costs one solve a sample. A
        solve with residual r makes the variance too large by ‖r‖²/σ² at most; these go on until
        that is below tolerance·σ².

        Args:
            x: points, [m, ...].

        Returns:
            The predictive, without a covariance. Results are float64.

        Warns:
            RuntimeWarning: some solve ended above the tolerance.
        """
        points = as_points(x, "x").to(self.data.x)
        means, variances = [], []
        for some in self._chunks(points):
            cross = self.kernel(some, self.data.x).to(self.solution.values)
            prior = kernel_diagonal(self.kernel, some, chunk=self.plan.side)
            means.append(cross @ self.solution.values)
            variances.append(prior.to(cross) - self._explained(cross.mT))
        return self.data.predictive(
            mean=torch.cat(means),
            variance=torch.cat(variances),
            noise_variance=self.noise_std**2,
        )

    def solve(self, columns: Float[Tensor, "n s"]) -> Float[Tensor, "n s"]:
        """Return (K + σ²I)⁻¹ times each column, as many at once as the plan allows.

        Warns:
            RuntimeWarning: some solve ended above the tolerance.
        """
        parts = torch.split(columns.double(), self.plan.columns, dim=1)
        return torch.cat([self.solver.solve(some).values for some in parts], dim=1)

    def _explained(self, cross: Tensor) -> Tensor:
        """Return k_*ᵀ(K + σ²I)⁻¹k_* of each column, less eᵀ(K + σ²I)e for errors e."""
        variance, tolerance = float(self.noise_std) ** 2, self.solver.tolerance
        needed = variance * tolerance**0.5 / cross.norm(dim=0).clamp(min=variance)
        solution = self.solver.solve(cross, needed.clamp(ATTAINABLE, tolerance))
        return (solution.values * (cross + solution.remainders)).sum(0)

    def _chunks(self, x: Tensor) -> tuple[Tensor, ...]:
        return torch.split(x, self.plan.columns)


def fit_gp_iterative(
    kernel: Kernel,
    x: ArrayLike | Tensor,
    y: ArrayLike | Tensor,
    *,
    noise_std: float,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
    memory_budget: int | None = None,
    storage: torch.dtype | None = None,
    preconditioner_rank: int | None = None,
    seed: int = 0,
) -> IterativeGaussianProcess:
    """Condition a zero-mean Gaussian process on many data, by conjugate gradients.

    K is made in tiles, of which those that fit the budget are kept and the others are computed anew
    at every product. Vectors and residuals are float64 whatever the tiles are.

    Args:
        kernel: k(x1, x2=None) -> [n1, n2], such as `bayesnn.kernels.ntk(network)`; it is evaluated
            in x's dtype.
        x: inputs, [n, ...].
        y: targets, [n] or [n, outputs]; outputs are independent with one kernel.
        noise_std: σ of the targets, positive.
        tolerance: relative residual ‖y − (K + σ²I)α‖/‖y‖ at which a solve is done.
        max_iterations: products with K that a solve may take.
        memory_budget: bytes of tiles, preconditioner and vectors; by default 1 GiB on a CPU and
            60 % of what is free on a GPU.
        storage: dtype of the tiles; x's by default. float32 halves memory and time of a product,
            and changes K by its rounding, a matrix of norm 4e-8·√n·k(x, x), which σ² should be far
            above.
        preconditioner_rank: columns of K behind the preconditioner; 10·√n by default.
        seed: of the preconditioner's random choice.

    Returns:
        The process; its `solution` says how the solve went.

    Raises:
        ValueError: NaN, lengths that differ, a budget that is too small, or a matrix that is not
            positive definite in this precision.

    Warns:
        RuntimeWarning: the solve ended above the tolerance, or K's rounding is not far below σ².

    Example:
        >>> from bayesnn.gp import gp_posterior
        >>> from bayesnn.kernels import ntk
        >>> from bayesnn.networks import Erf, mlp
        >>> net = mlp(in_features=1, out_features=1, width=8, depth=2, activation=Erf())
        >>> x = torch.linspace(-1, 1, 50, dtype=torch.float64).unsqueeze(1)
        >>> gp = fit_gp_iterative(ntk(net), x, x.squeeze(1).sin(), noise_std=0.1)
        >>> exact = gp_posterior(ntk(net), x, x.squeeze(1).sin(), x, noise_std=0.1)
        >>> bool(torch.allclose(gp.posterior(x).mean, exact.mean, atol=1e-5))
        True
    """
    data = regression_data(x, y)
    noise = as_noise(noise_std, data.x.double())
    variance = float(noise) ** 2
    storage = data.x.dtype if storage is None else storage
    if preconditioner_rank is not None:
        check_count(preconditioner_rank, "preconditioner_rank")
    _check_rounding(kernel, data.x, variance, storage)
    plan = memory_plan(
        data.x,
        n_outputs=data.y.shape[1],
        storage=storage,
        rank=preconditioner_rank,
        budget=memory_budget,
    )
    preconditioner = low_rank_preconditioner(
        kernel,
        data.x,
        noise_variance=variance,
        rank=plan.rank,
        chunk=plan.side,
        generator=seeded_generator(seed),
    )
    tiles = KernelTiles(
        kernel,
        data.x,
        noise_variance=variance,
        side=plan.side,
        storage=storage,
        cache_bytes=plan.cache_bytes,
    )
    solver = TiledSolver(
        tiles=tiles,
        preconditioner=preconditioner,
        tolerance=check_positive(tolerance, "tolerance"),
        max_iterations=check_count(max_iterations, "max_iterations"),
    )
    return IterativeGaussianProcess(
        kernel=kernel,
        data=data,
        noise_std=noise,
        plan=plan,
        solver=solver,
        solution=solver.solve(data.y.double()),
    )


def _check_rounding(kernel: Kernel, x: Tensor, variance: float, storage: torch.dtype) -> None:
    eps = max(torch.finfo(dtype).eps for dtype in (x.dtype, storage))
    # independent errors, uniform in ±ε/2 of each entry: a symmetric matrix of norm 2√n·ε/√12·k
    size = float(kernel_diagonal(kernel, x[:SOME], chunk=SOME).detach().max())
    rounding = 0.58 * eps * len(x) ** 0.5 * size
    if rounding > ROUNDED * variance:
        warnings.warn(
            f"storage: rounding changes K by a matrix of norm {rounding:.1e} or so, where "
            f"σ² = {variance:.1e} is the least eigenvalue of K + σ²I; for results that do not feel "
            "it, give x and store tiles in float64, or raise noise_std.",
            RuntimeWarning,
            stacklevel=3,
        )
