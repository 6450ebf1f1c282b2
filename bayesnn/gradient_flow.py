"""The distribution of infinitely wide ensembles under gradient flow, at the end and at any time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bayesnn.checks import as_finite_tensor
from bayesnn.predictive import Predictive

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from bayesnn.gp import Kernel


def ntkgp_distribution(
    ntk: Kernel,
    x: ArrayLike | Tensor,
    y: ArrayLike | Tensor,
    x_test: ArrayLike | Tensor,
    *,
    noise_std: float,
    time: float = math.inf,
) -> Predictive:
    """Return the distribution of NTKGP-param and NTKGP-lin members at flow time t.

    At the end, t → ∞, it is the posterior of GP(0, Θ) with noise σ (He, Lakshminarayanan, Teh,
    2020, arXiv 2007.05864).

    Args:
        ntk: Θ, `bayesnn.kernels.ntk(network)`.
        x: training inputs, [n, ...].
        y: training targets, [n] or [n, outputs].
        x_test: test points, [m, ...].
        noise_std: σ.
        time: t of the flow dθ/dt = −Λ⁻¹∇loss, of ½·mean of squares + σ²/(2N)·‖θ − θ₀‖²_Λ.

    Returns:
        Mean, variances and covariance of the members; the noise apart.

    Raises:
        ValueError: bad data, a negative time, a noise that is not positive.

    Example:
        >>> from bayesnn.gp import gp_posterior
        >>> from bayesnn.kernels import ntk
        >>> from bayesnn.networks import Erf, mlp
        >>> kernel = ntk(mlp(in_features=1, out_features=1, width=8, depth=1, activation=Erf()))
        >>> x, y, points = [[0.0], [1.0]], [0.0, 1.0], torch.tensor([[2.0]], dtype=torch.float64)
        >>> end = ntkgp_distribution(kernel, x, y, points, noise_std=0.1)
        >>> exact = gp_posterior(kernel, x, y, points, noise_std=0.1)
        >>> bool(torch.allclose(end.mean, exact.mean))
        True
    """
    return _distribution(ntk, ntk, x, y, x_test, noise_std=noise_std, time=time, regularised=True)


def anchored_distribution(
    nngp: Kernel,
    ntk: Kernel,
    x: ArrayLike | Tensor,
    y: ArrayLike | Tensor,
    x_test: ArrayLike | Tensor,
    *,
    noise_std: float,
    time: float = math.inf,
) -> Predictive:
    """Return the distribution of anchored members at flow time t: prior K, trained along Θ.

    Args:
        nngp: K.
        ntk: Θ of the same network.
        x: training inputs, [n, ...].
        y: training targets, [n] or [n, outputs].
        x_test: test points, [m, ...].
        noise_std: σ.
        time: t.

    Returns:
        Mean, variances and covariance of the members; the noise apart.

    Raises:
        ValueError: bad data, a negative time, a noise that is not positive.

    Example:
        >>> from bayesnn.kernels import nngp, ntk
        >>> from bayesnn.networks import Erf, mlp
        >>> net = mlp(in_features=1, out_features=1, width=8, depth=1, activation=Erf())
        >>> x, y = [[0.0], [1.0]], [0.0, 1.0]
        >>> post = anchored_distribution(nngp(net), ntk(net), x, y, [[5.0]], noise_std=0.1)
        >>> bool(post.std < ntkgp_distribution(ntk(net), x, y, [[5.0]], noise_std=0.1).std)
        True
    """
    return _distribution(nngp, ntk, x, y, x_test, noise_std=noise_std, time=time, regularised=True)


def deep_ensemble_distribution(
    nngp: Kernel,
    ntk: Kernel,
    x: ArrayLike | Tensor,
    y: ArrayLike | Tensor,
    x_test: ArrayLike | Tensor,
    *,
    noise_std: float,
    time: float,
) -> Predictive:
    """Return the distribution of a deep ensemble's members at flow time t; it is no posterior.

    Its loss has no regulariser and its targets no noise added, so the time is asked for: as t → ∞
    the data are met exactly, and the formula is as ill-conditioned as Θ.

    Args:
        nngp: K.
        ntk: Θ of the same network.
        x: training inputs, [n, ...].
        y: training targets, [n] or [n, outputs].
        x_test: test points, [m, ...].
        noise_std: σ of observations, which enters the noise variance alone.
        time: t, finite.

    Returns:
        Mean, variances and covariance of the members; the noise apart.

    Raises:
        ValueError: bad data, a time that is negative or endless.

    Example:
        >>> from bayesnn.kernels import nngp, ntk
        >>> from bayesnn.networks import Erf, mlp
        >>> net = mlp(in_features=1, out_features=1, width=8, depth=1, activation=Erf())
        >>> x, y = [[0.0], [1.0]], [0.0, 1.0]
        >>> post = deep_ensemble_distribution(
        ...     nngp(net), ntk(net), x, y, x, noise_std=0.1, time=1e4
        ... )
        >>> bool(torch.allclose(post.mean, post.mean.new_tensor(y), atol=1e-2))
        True
    """
    if not math.isfinite(time):
        raise ValueError("time: expected a finite flow time for a deep ensemble, got infinity.")
    return _distribution(nngp, ntk, x, y, x_test, noise_std=noise_std, time=time, regularised=False)


def _distribution(
    initial: Kernel,
    ntk: Kernel,
    x: ArrayLike | Tensor,
    y: ArrayLike | Tensor,
    x_test: ArrayLike | Tensor,
    *,
    noise_std: float,
    time: float,
    regularised: bool,
) -> Predictive:
    """Return mean G y and covariance C_** − G C_X* − C_*X Gᵀ + G (C_XX + s²I) Gᵀ.

    G = Θ_*X (Θ + s²I)⁻¹ (I − exp(−t(Θ + s²I)/N)), with s = σ where the members are regularised and
    see perturbed targets, and 0 where neither is so.
    """
    if not (math.isfinite(noise_std) and noise_std > 0):
        raise ValueError(f"noise_std: expected a positive number, got {noise_std!r}.")
    if not time >= 0:
        raise ValueError(f"time: expected at least 0, got {time!r}.")
    inputs = as_finite_tensor(x, "x", ndim=range(2, 5), dtype=torch.float64)
    targets = as_finite_tensor(y, "y", ndim=(1, 2), dtype=torch.float64)
    points = as_finite_tensor(x_test, "x_test", ndim=range(2, 5), dtype=torch.float64)
    if len(targets) != len(inputs):
        raise ValueError(f"y: expected {len(inputs)} rows as in x, got {len(targets)}.")
    variance = noise_std**2 if regularised else 0.0
    eigenvalues, vectors = torch.linalg.eigh(ntk(inputs))
    decay = eigenvalues.clamp(min=0.0) + variance
    # −expm1 keeps the digits of modes that have hardly moved; those of no decay move as t/N
    moved = torch.where(
        decay > 0,
        -torch.expm1(-decay * (time / len(inputs))) / decay.clamp(min=1e-300),
        time / len(inputs),
    )
    gain = (ntk(points, inputs) @ vectors * moved) @ vectors.T
    prior_cross = initial(points, inputs)
    gram = initial(inputs) + variance * torch.eye(len(inputs), dtype=torch.float64)
    mixed = gain @ prior_cross.T
    covariance = initial(points) - mixed - mixed.T + gain @ gram @ gain.T
    covariance = (covariance + covariance.T) / 2
    mean, spread = gain @ targets, covariance.diagonal().clamp(min=0.0)
    if targets.ndim == 2:
        k = targets.shape[1]
        spread = spread.unsqueeze(1).expand(-1, k)
        covariance = covariance.expand(k, -1, -1)
    return Predictive(
        mean=mean,
        epistemic_variance=spread,
        noise_variance=torch.tensor(noise_std**2, dtype=torch.float64),
        covariance=covariance,
    )
