"""Functions drawn from a Gaussian-process prior: exactly on few points, approximately anywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from bayesnn.gp.regression import Kernel
from bayesnn.seeds import seeded_generator

PriorDraws = Callable[[Tensor], Tensor]  # points [m, ...] -> values [draws, m] in float64
Prior = Callable[[Kernel, int, int], PriorDraws]  # of a kernel, the number of draws and a seed

JOINT_BUDGET = 2**30  # bytes


class _Block(NamedTuple):
    """Points that were asked for together: their coupling to earlier ones, and what is their own.

    f(x) = Σ_a couplings_a z_a + root z, with z of unit variance and `root` symmetric.
    """

    x: Tensor
    couplings: list[Tensor]
    whitener: Tensor
    z: Tensor


class JointDraws:
    """Functions f ~ GP(0, k), revealed where they are asked for; exact up to rounding.

    Values at new points are drawn given those at all points before, so that all calls together have
    the joint distribution of k, and a point that comes again has its value again. The same seed and
    the same calls in the same order give the same values. It keeps all points, and matrices of
    their number squared.

    Args:
        kernel: k(x1, x2=None) -> [n1, n2].
        n_draws: number of functions.
        seed: of the draws.
        memory_budget: bytes of what is kept.

    Example:
        >>> from bayesnn.kernels import ntk
        >>> from bayesnn.networks import Erf, mlp
        >>> kernel = ntk(mlp(in_features=1, out_features=1, width=8, depth=1, activation=Erf()))
        >>> draws = JointDraws(kernel, 3, 0)
        >>> x = torch.linspace(-1, 1, 4, dtype=torch.float64).unsqueeze(1)
        >>> bool(torch.allclose(draws(x)[:, :2], draws(x[:2]), atol=1e-5))
        True
    """

    def __init__(
        self, kernel: Kernel, n_draws: int, seed: int, *, memory_budget: int = JOINT_BUDGET
    ) -> None:
        self._kernel, self._n_draws, self._seed = kernel, n_draws, seed
        self._memory_budget = memory_budget
        self._blocks: list[_Block] = []

    def __call__(self, x: Float[Tensor, "m ..."]) -> Float64[Tensor, "draws m"]:
        """Return the functions' values at more points.

        Args:
            x: points, [m, ...].

        Raises:
            ValueError: all points so far need more memory than the budget.
        """
        self._check_budget(len(x))
        with torch.no_grad():
            couplings = self._couplings(x)
            left = self._kernel(x).double()
            scale = float(left.diagonal().max())
            for one in couplings:
                left = left - one @ one.mT
            values, vectors = torch.linalg.eigh((left + left.mT) / 2)
            known = sum(len(block.x) for block in self._blocks) + len(x)
            # below it a mode is rounding of what the points before have settled
            kept = values > 8 * known * torch.finfo(x.dtype).eps * scale
            roots = values.clamp(min=0.0).sqrt() * kept
            inverses = torch.where(kept, values.clamp(min=1e-300).rsqrt(), 0.0)
            # symmetric roots, which do not depend on the eigenvectors' signs
            root, whitener = (vectors * each @ vectors.mT for each in (roots, inverses))
            z = torch.randn(
                len(x), self._n_draws, dtype=torch.float64,
                generator=seeded_generator(self._seed, len(self._blocks)),
            ).to(root)  # fmt: skip
            total: Tensor = root @ z
            for one, block in zip(couplings, self._blocks, strict=True):
                total = total + one @ block.z
        self._blocks.append(_Block(x=x, couplings=couplings, whitener=whitener, z=z))
        return total.mT

    def _couplings(self, x: Tensor) -> list[Tensor]:
        """Return the regression of f(x) on each earlier block's z, by block substitution."""
        found: list[Tensor] = []
        for block in self._blocks:
            cross = self._kernel(x, block.x).double()
            for mine, its in zip(found, block.couplings, strict=True):
                cross = cross - mine @ its.mT
            found.append(cross @ block.whitener)
        return found

    def _check_budget(self, more: int) -> None:
        n = sum(len(block.x) for block in self._blocks) + more
        needed = 8 * (2 * n**2 + n * self._n_draws)
        if needed > self._memory_budget:
            raise ValueError(
                f"prior: exact draws at {n} points together need {needed:,} bytes, the memory "
                f"budget is {self._memory_budget:,}; ask for fewer points, raise it (prior="
                "functools.partial(JointDraws, memory_budget=...)), or take approximate draws from "
                "a finite network (finite_ntk_prior, finite_nngp_prior)."
            )


class CovarianceError(NamedTuple):
    """How far draws are from a kernel, and how far so many exact draws would be."""

    observed: float
    of_exact_draws: float


def covariance_error(
    draws: PriorDraws, kernel: Kernel, x: Float[Tensor, "m ..."]
) -> CovarianceError:
    """Measure ‖Ĉ − K‖/‖K‖ (Frobenius) of the draws' second moments at some points.

    For S exact draws its mean square is (1 + (tr K)²/‖K‖²)/S; a value far above its root is the
    approximation's own error.

    Args:
        draws: functions, such as `finite_ntk_prior(network)(kernel, 100, 0)`.
        kernel: k.
        x: points, [m, ...]; a few dozen.

    Returns:
        The relative error, and its root mean square for exact draws.

    Example:
        >>> from bayesnn.gp import finite_nngp_prior
        >>> from bayesnn.kernels import nngp
        >>> from bayesnn.networks import Erf, mlp
        >>> net = mlp(in_features=2, out_features=1, width=64, depth=1, activation=Erf())
        >>> x = torch.eye(2, dtype=torch.float64)
        >>> found = covariance_error(finite_nngp_prior(net)(nngp(net), 400, 0), nngp(net), x)
        >>> found.observed < 5 * found.of_exact_draws
        True
    """
    values = draws(x)
    exact = kernel(x).detach().to(values)
    found = values.mT @ values / len(values)
    size = float(exact.norm())
    spread = (1 + (float(exact.trace()) / size) ** 2) / len(values)
    return CovarianceError(float((found - exact).norm()) / size, spread**0.5)
