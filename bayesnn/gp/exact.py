"""Gaussian-process regression with any kernel: factorise once, then solve."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.gp.regression import (
    NOT_POSITIVE_DEFINITE,
    Kernel,
    RegressionData,
    as_noise,
    as_points,
    kernel_diagonal,
    regression_data,
)
from bayesnn.predictive import Predictive

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

CROSS_BUDGET = 2**27  # bytes of k(x, X) at a time


@dataclass(frozen=True, kw_only=True)
class GaussianProcess:
    """A zero-mean Gaussian process that has seen data; build it with `fit_gp`.

    Attributes:
        kernel: k.
        data: the training data.
        factor: lower Cholesky factor of k(x, x) + σ²I + jitter.
        weights: (k(x, x) + σ²I + jitter)⁻¹ y, [n, outputs].
        noise_std: σ.
    """

    kernel: Kernel
    data: RegressionData
    factor: Float[Tensor, "n n"]
    weights: Float[Tensor, "n k"]
    noise_std: Tensor

    def solve(self, columns: Float[Tensor, "n s"]) -> Float[Tensor, "n s"]:
        """Return (K + σ²I + jitter)⁻¹ times each column."""
        return torch.cholesky_solve(columns, self.factor)

    def mean(self, x: Float[Tensor, "m ..."]) -> Float[Tensor, "m k"]:
        """Return the posterior mean at checked points, one column an output."""
        mean: Tensor = self.kernel(x, self.data.x) @ self.weights
        return mean

    def posterior(self, x: ArrayLike | Tensor) -> Predictive:
        """Return the distribution of the function and of observations at new points.

        Mean K_*X (K + σ²I)⁻¹ y and covariance K_** − K_*X (K + σ²I)⁻¹ K_X* (Rasmussen and Williams,
        2006, algorithm 2.1). `covariance` and `epistemic_variance` leave the noise out. The
        covariance grows with the points squared; `marginals` leaves it out.

        Args:
            x: points, [m, ...].

        Returns:
            The predictive with its covariance [m, m], the same for every output.
        """
        points = as_points(x, "x").to(self.data.x)
        cross = self.kernel(points, self.data.x)
        half = torch.linalg.solve_triangular(self.factor, cross.T, upper=False)
        covariance = self.kernel(points) - half.T @ half
        covariance = (covariance + covariance.T) / 2
        return self.data.predictive(
            mean=cross @ self.weights,
            variance=covariance.diagonal(),
            noise_variance=self.noise_std**2,
            covariance=covariance,
        )

    def marginals(self, x: ArrayLike | Tensor, *, memory_budget: int = CROSS_BUDGET) -> Predictive:
        """Return the same distribution without the covariance between points, chunk by chunk.

        Args:
            x: points, [m, ...], of which there may be many.
            memory_budget: bytes of k(x, X) and of its solve at a time.

        Returns:
            The predictive; its `covariance` is None.
        """
        data = self.data
        points = as_points(x, "x").to(data.x)
        size = max(1, memory_budget // (2 * data.x.element_size() * len(data.x)))
        means, variances = [], []
        for some in torch.split(points, size):
            cross = self.kernel(some, data.x)
            half = torch.linalg.solve_triangular(self.factor, cross.T, upper=False)
            prior = kernel_diagonal(self.kernel, some, chunk=len(some))
            means.append(cross @ self.weights)
            variances.append(prior - half.square().sum(0))
        return data.predictive(
            mean=torch.cat(means),
            variance=torch.cat(variances),
            noise_variance=self.noise_std**2,
        )

    def log_marginal_likelihood(self) -> Tensor:
        """Return log N(y | 0, K + σ²I), summed over outputs; differentiable in the kernel."""
        n, k = self.data.y.shape
        fit = (self.data.y * self.weights).sum()
        volume = 2 * self.factor.diagonal().log().sum()
        return -0.5 * (fit + k * volume + n * k * math.log(2 * math.pi))


def fit_gp(
    kernel: Kernel,
    x: ArrayLike | Tensor,
    y: ArrayLike | Tensor,
    *,
    noise_std: float | Tensor,
    jitter: float = 0.0,
) -> GaussianProcess:
    """Condition a zero-mean Gaussian process on data.

    Args:
        kernel: k(x1, x2=None) -> [n1, n2], such as `bayesnn.kernels.ntk(network)`.
        x: inputs, [n, ...].
        y: targets, [n] or [n, outputs]; outputs are independent with one kernel.
        noise_std: σ of the targets, positive.
        jitter: added to the diagonal beside σ²; nothing is added unasked.

    Returns:
        The process, factorised.

    Raises:
        ValueError: NaN, lengths that differ, or a matrix that is not positive definite.

    Example:
        >>> from bayesnn.kernels import ntk
        >>> from bayesnn.networks import Erf, mlp
        >>> net = mlp(in_features=1, out_features=1, width=8, depth=2, activation=Erf())
        >>> x = torch.linspace(-1, 1, 5, dtype=torch.float64).unsqueeze(1)
        >>> gp = fit_gp(ntk(net), x, x.squeeze(1).sin(), noise_std=0.1)
        >>> bool((gp.posterior(x).std < gp.posterior(x + 9).std).all())
        True
    """
    data = regression_data(x, y)
    noise = as_noise(noise_std, data.x)
    gram = kernel(data.x)
    eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    factor, failed = torch.linalg.cholesky_ex(gram + (noise**2 + jitter) * eye)
    if bool(failed.any()):
        raise ValueError(NOT_POSITIVE_DEFINITE)
    return GaussianProcess(
        kernel=kernel,
        data=data,
        factor=factor,
        weights=torch.cholesky_solve(data.y, factor),
        noise_std=noise,
    )


def gp_posterior(
    kernel: Kernel,
    x: ArrayLike | Tensor,
    y: ArrayLike | Tensor,
    x_test: ArrayLike | Tensor,
    *,
    noise_std: float | Tensor,
    jitter: float = 0.0,
) -> Predictive:
    """Return the exact posterior of a zero-mean Gaussian process at test points.

    Args:
        kernel: k(x1, x2=None) -> [n1, n2].
        x: training inputs, [n, ...].
        y: training targets, [n] or [n, outputs].
        x_test: test points, [m, ...].
        noise_std: σ of the targets.
        jitter: added to the diagonal beside σ².

    Returns:
        Mean, variances and covariance; the covariance leaves the noise out.

    Raises:
        ValueError: as `fit_gp`.

    Example:
        >>> from bayesnn.kernels import ntk
        >>> from bayesnn.networks import Erf, mlp
        >>> net = mlp(in_features=1, out_features=1, width=8, depth=2, activation=Erf())
        >>> post = gp_posterior(ntk(net), [[0.0], [1.0]], [0.0, 1.0], [[2.0]], noise_std=0.1)
        >>> post.covariance.shape
        torch.Size([1, 1])
    """
    return fit_gp(kernel, x, y, noise_std=noise_std, jitter=jitter).posterior(x_test)
