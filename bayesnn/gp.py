"""Gaussian-process regression with any kernel: factorise once, then solve."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.checks import as_finite_tensor, check_positive
from bayesnn.predictive import Predictive

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Kernel = Callable[..., Tensor]  # k(x1, x2=None) -> [n1, n2]


@dataclass(frozen=True, kw_only=True)
class GaussianProcess:
    """A zero-mean Gaussian process that has seen data; build it with `fit_gp`.

    Attributes:
        kernel: k.
        x: training inputs, [n, ...].
        y: training targets, [n, outputs].
        factor: lower Cholesky factor of k(x, x) + σ²I + jitter.
        weights: (k(x, x) + σ²I + jitter)⁻¹ y, [n, outputs].
        noise_std: σ.
        vector_targets: whether y was given as a vector.
    """

    kernel: Kernel
    x: Tensor
    y: Float[Tensor, "n k"]
    factor: Float[Tensor, "n n"]
    weights: Float[Tensor, "n k"]
    noise_std: Tensor
    vector_targets: bool

    def posterior(self, x: ArrayLike | Tensor) -> Predictive:
        """Return the distribution of the function and of observations at new points.

        Mean K_*X (K + σ²I)⁻¹ y and covariance K_** − K_*X (K + σ²I)⁻¹ K_X* (Rasmussen and Williams,
        2006, algorithm 2.1). `covariance` and `epistemic_variance` leave the noise out.

        Args:
            x: points, [m, ...].

        Returns:
            The predictive with its covariance [m, m], the same for every output.
        """
        points = _points(x, "x").to(self.x)
        cross = self.kernel(points, self.x)
        mean = cross @ self.weights
        half = torch.linalg.solve_triangular(self.factor, cross.T, upper=False)
        covariance = self.kernel(points) - half.T @ half
        covariance = (covariance + covariance.T) / 2
        # rounding may leave less than nothing at the data
        variance = covariance.diagonal().clamp(min=0.0)
        if self.vector_targets:
            mean = mean.squeeze(1)
        else:
            k = mean.shape[1]
            variance = variance.unsqueeze(1).expand(-1, k)
            covariance = covariance.expand(k, -1, -1)
        return Predictive(
            mean=mean,
            epistemic_variance=variance,
            noise_variance=self.noise_std.detach() ** 2,
            covariance=covariance,
        )

    def log_marginal_likelihood(self) -> Tensor:
        """Return log N(y | 0, K + σ²I), summed over outputs; differentiable in the kernel."""
        n, k = self.y.shape
        fit = (self.y * self.weights).sum()
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
    inputs = _points(x, "x")
    targets = as_finite_tensor(y, "y", ndim=(1, 2)).to(inputs)
    if len(targets) != len(inputs):
        raise ValueError(f"y: expected {len(inputs)} rows as in x, got {len(targets)}.")
    if isinstance(noise_std, Tensor):
        noise = noise_std.to(inputs)
    else:
        noise = inputs.new_tensor(check_positive(noise_std, "noise_std"))
    gram = kernel(inputs)
    eye = torch.eye(len(inputs), dtype=gram.dtype, device=gram.device)
    factor, failed = torch.linalg.cholesky_ex(gram + (noise**2 + jitter) * eye)
    if bool(failed.any()):
        raise ValueError(
            "kernel: K + σ²I is not positive definite in this precision; use float64, raise "
            "noise_std, or add a jitter."
        )
    columns = targets.reshape(len(inputs), -1)
    return GaussianProcess(
        kernel=kernel,
        x=inputs,
        y=columns,
        factor=factor,
        weights=torch.cholesky_solve(columns, factor),
        noise_std=noise,
        vector_targets=targets.ndim == 1,
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


def _points(x: ArrayLike | Tensor, name: str) -> Tensor:
    return as_finite_tensor(x, name, ndim=range(2, 5))
