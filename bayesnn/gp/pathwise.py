"""Functions drawn from a Gaussian-process posterior, by Matheron's rule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from jaxtyping import Float64
from torch import Tensor

from bayesnn.checks import check_count
from bayesnn.gp.exact import CROSS_BUDGET
from bayesnn.gp.prior_draws import JointDraws, Prior, PriorDraws
from bayesnn.gp.regression import Kernel, RegressionData, as_points
from bayesnn.predictive import Predictive
from bayesnn.seeds import seeded_generator

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

NOISE_PLACE = (2**31, 0, 0)  # where no prior draws stand


@runtime_checkable
class FittedProcess(Protocol):
    """What samples need of a process: `GaussianProcess` and `IterativeGaussianProcess` have it."""

    @property
    def kernel(self) -> Kernel:
        """The covariance function k."""
        ...

    @property
    def data(self) -> RegressionData:
        """The training data."""
        ...

    @property
    def noise_std(self) -> Tensor:
        """The noise σ."""
        ...

    def solve(self, columns: Tensor) -> Tensor:
        """Return (K + σ²I)⁻¹ times each column."""
        ...

    def mean(self, x: Tensor) -> Tensor:
        """Return the posterior mean at checked points, [m, k]."""
        ...


@dataclass(frozen=True, kw_only=True)
class PathwiseSamples:
    """Functions drawn from a posterior; build them with `pathwise_samples`.

    Attributes:
        process: the posterior's process.
        prior: the functions' prior parts.
        weights: (K + σ²I)⁻¹(y − f₀(X) − σε), a column for each function and output.
        n_samples: number of functions.
        memory_budget: bytes of k(x, X) at a time.
    """

    process: FittedProcess
    prior: PriorDraws
    weights: Float64[Tensor, "n sk"]
    n_samples: int
    memory_budget: int

    @property
    def relative_error(self) -> float:
        """Standard error of a standard deviation from these samples, relative: 1/√(2S)."""
        return 1 / math.sqrt(2 * self.n_samples)

    def __call__(self, x: ArrayLike | Tensor) -> Tensor:
        """Return the functions' values f₀(x) + k(x, X)·weights.

        Args:
            x: points, [m, ...].

        Returns:
            Values without noise, [samples, m], or [samples, m, outputs] as y is; float64.
        """
        data = self.process.data
        points = as_points(x, "x").to(data.x)
        columns = self.prior(points).mT
        size = max(1, self.memory_budget // (8 * len(data.x)))
        with torch.no_grad():
            update = [
                self.process.kernel(some, data.x).to(self.weights) @ self.weights
                for some in torch.split(points, size)
            ]
        values = (columns + torch.cat(update)).reshape(len(points), self.n_samples, -1)
        values = values.transpose(0, 1)
        return values.squeeze(2) if data.vector_targets else values

    def posterior(self, x: ArrayLike | Tensor) -> Predictive:
        """Return the posterior with variances from the samples; the mean is the process's own.

        Each standard deviation has a relative standard error of 1/√(2S) (`relative_error`), for
        which quantiles and intervals account by Student's t.

        Args:
            x: points, [m, ...].

        Returns:
            The predictive, of `n_samples` members.
        """
        data = self.process.data
        points = as_points(x, "x").to(data.x)
        values = self(points).reshape(self.n_samples, len(points), -1)
        mean = self.process.mean(points).detach().to(values)
        return data.predictive(
            mean=mean,
            variance=(values - mean).square().mean(0),
            noise_variance=self.process.noise_std.to(values) ** 2,
            n_members=self.n_samples,
        )


def pathwise_samples(
    process: FittedProcess,
    *,
    n_samples: int,
    seed: int = 0,
    prior: Prior = JointDraws,
    memory_budget: int = CROSS_BUDGET,
) -> PathwiseSamples:
    """Draw functions from a posterior: f = f₀ + k(·, X)(K + σ²I)⁻¹(y − f₀(X) − σε).

    With f₀ ~ GP(0, k) and ε ~ N(0, I) they are exact draws (Matheron's rule; Wilson et al., 2020,
    arXiv 2002.09309), at the cost of one solve a function, whatever the number of points.

    Args:
        process: of `fit_gp` or `fit_gp_iterative`.
        n_samples: number of functions.
        seed: of the functions; the same seed gives the same ones.
        prior: how f₀ is drawn. `JointDraws` is exact and keeps matrices of all points, training
            and new, squared. For more points, `finite_ntk_prior(network)` and
            `finite_nngp_prior(network)` are approximate, to O(1/width).
        memory_budget: bytes of k(x, X) at a time.

    Returns:
        The functions, to be called at any points.

    Raises:
        ValueError: too many points for exact prior draws.

    Example:
        >>> from bayesnn.gp import fit_gp
        >>> from bayesnn.kernels import ntk
        >>> from bayesnn.networks import Erf, mlp
        >>> net = mlp(in_features=1, out_features=1, width=8, depth=2, activation=Erf())
        >>> x = torch.linspace(-1, 1, 5, dtype=torch.float64).unsqueeze(1)
        >>> samples = pathwise_samples(
        ...     fit_gp(ntk(net), x, x.squeeze(1).sin(), noise_std=0.1), n_samples=3
        ... )
        >>> samples(x).shape
        torch.Size([3, 5])
    """
    check_count(n_samples, "n_samples", minimum=2)
    data = process.data
    n, k = data.y.shape
    draws = prior(process.kernel, n_samples * k, seed)
    start = draws(data.x).mT
    noise = torch.randn(
        n, n_samples * k, dtype=torch.float64, generator=seeded_generator(seed, *NOISE_PLACE)
    ).to(start)
    targets = data.y.to(start).repeat(1, n_samples)
    columns = targets - start - process.noise_std.detach().to(start) * noise
    weights = process.solve(columns.to(data.x)).detach().double()
    return PathwiseSamples(
        process=process,
        prior=draws,
        weights=weights,
        n_samples=n_samples,
        memory_budget=memory_budget,
    )
