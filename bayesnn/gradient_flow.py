"""The distribution of infinitely wide ensembles under gradient flow, at the end and at any time.

Methods whose regulariser pulls towards the initial parameters, or that have none, keep an
infinitely wide network linear in its parameters: NTKGP-param and -lin, anchored and deep
ensembles. RP-fn and NTKGP-fn pull towards 0, out of that regime, and have no such limit
(`ensembles.infinite_width_distribution` takes a method, and says so of these).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bayesnn.checks import check_positive
from bayesnn.gp.regression import Kernel, as_points, regression_data
from bayesnn.predictive import Predictive

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    Array = ArrayLike | Tensor

KernelPair = Callable[..., tuple[Tensor, Tensor]]  # (x1, x2=None) -> two kernels of the points


def ntkgp_distribution(
    ntk: Kernel, x: Array, y: Array, x_test: Array, *, noise_std: float, time: float = math.inf
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

    def twice(x1: Tensor, x2: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (ntk(x1, x2),) * 2

    given = (x, y, x_test)
    return flow_distribution(twice, ntk, given, noise_std=noise_std, time=time, regularised=True)


def anchored_distribution(
    nngp: Kernel,
    ntk: Kernel,
    x: Array,
    y: Array,
    x_test: Array,
    *,
    noise_std: float,
    time: float = math.inf,
) -> Predictive:
    """Return the distribution of anchored members at flow time t: prior K, trained along Θ.

    The arguments are those of `ntkgp_distribution`, after K, `bayesnn.kernels.nngp(network)`.

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
    both, given = _side_by_side(ntk, nngp), (x, y, x_test)
    return flow_distribution(both, nngp, given, noise_std=noise_std, time=time, regularised=True)


def deep_ensemble_distribution(
    nngp: Kernel, ntk: Kernel, x: Array, y: Array, x_test: Array, *, noise_std: float, time: float
) -> Predictive:
    """Return the distribution of a deep ensemble's members at flow time t; it is no posterior.

    Its loss has no regulariser and its targets no noise added, so a finite time is asked for: as
    t → ∞ the data are met exactly, and the formula is as ill-conditioned as Θ. The arguments are
    those of `anchored_distribution`; σ enters the noise variance alone.

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
    both, given = _side_by_side(ntk, nngp), (x, y, x_test)
    return flow_distribution(both, nngp, given, noise_std=noise_std, time=time, regularised=False)


def flow_distribution(
    both: KernelPair,
    initial: Kernel,
    given: tuple[Array, Array, Array],
    *,
    noise_std: float,
    time: float,
    regularised: bool,
) -> Predictive:
    """Return mean G y and covariance C_** − G C_X* − C_*X Gᵀ + G (C_XX + s²I) Gᵀ.

    G = Θ_*X (Θ + s²I)⁻¹ (I − exp(−t(Θ + s²I)/N)), with s = σ where the members are regularised and
    see perturbed targets, and 0 where neither is so.

    Args:
        both: (x1, x2=None) -> Θ and C, such as `bayesnn.kernels.ntk(network).with_nngp`.
        initial: C, the covariance of members at initialisation.
        given: training inputs, targets, and test points.
        noise_std: σ.
        time: t.
        regularised: whether members are.

    Returns:
        Mean, variances and covariance of the members; the noise apart.

    Raises:
        ValueError: bad data, a negative time, a noise that is not positive, or an endless time
            without a regulariser.
    """
    if not (regularised or math.isfinite(time)):
        raise ValueError("time: expected a finite flow time for a deep ensemble, got infinity.")
    check_positive(noise_std, "noise_std")
    if not time >= 0:
        raise ValueError(f"time: expected at least 0, got {time!r}.")
    x, y, x_test = given
    data = regression_data(x, y, dtype=torch.float64)
    inputs, n = data.x, len(data.x)
    points = as_points(x_test, "x_test", dtype=torch.float64).to(inputs.device)
    theta, gram = both(inputs)
    theta_cross, prior_cross = both(points, inputs)
    variance = noise_std**2 if regularised else 0.0
    eigenvalues, vectors = torch.linalg.eigh(theta)
    decay = eigenvalues.clamp(min=0.0) + variance
    # −expm1 keeps the digits of modes that have hardly moved; those of no decay move as t/N
    moved = torch.where(
        decay > 0,
        -torch.expm1(-decay * (time / n)) / decay.clamp(min=1e-300),
        time / n,
    )
    gain = (theta_cross @ vectors * moved) @ vectors.T
    gram = gram + variance * torch.eye(n).to(inputs)
    mixed = gain @ prior_cross.T
    covariance = initial(points) - mixed - mixed.T + gain @ gram @ gain.T
    covariance = (covariance + covariance.T) / 2
    return data.predictive(
        mean=gain @ data.y,
        variance=covariance.diagonal(),
        noise_variance=inputs.new_tensor(noise_std**2),
        covariance=covariance,
    )


def _side_by_side(ntk: Kernel, nngp: Kernel) -> KernelPair:
    def both(x1: Tensor, x2: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return ntk(x1, x2), nngp(x1, x2)

    return both
