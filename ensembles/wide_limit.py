"""What a method's members tend to as the network's width goes to infinity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor, nn

from bayesnn.gradient_flow import flow_distribution, ntkgp_distribution
from bayesnn.kernels import nngp, ntk
from bayesnn.predictive import Predictive
from ensembles.methods.anchored import Anchored
from ensembles.methods.deep_ensemble import DeepEnsemble
from ensembles.methods.ntkgp_lin import NTKGPLin
from ensembles.methods.ntkgp_param import NTKGPParam
from ensembles.methods.protocol import Method

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def infinite_width_distribution(
    method: Method,
    network: nn.Module,
    x: ArrayLike | Tensor,
    y: ArrayLike | Tensor,
    x_test: ArrayLike | Tensor,
    *,
    noise_std: float,
    time: float = math.inf,
) -> Predictive:
    """Return the Gaussian that a method's members are drawn from in the limit of infinite width.

    Members are trained by gradient flow preconditioned by Λ⁻¹ on ½·mean of squares plus
    σ²/(2N)·r(θ), to its end or to time t (He, Lakshminarayanan, Teh, 2020, arXiv 2007.05864).

    Args:
        method: `ntkgp_param()`, `ntkgp_lin()`, `anchored()` or `deep_ensemble()`.
        network: the network, as for `bayesnn.kernels.ntk`.
        x: training inputs, [n, ...].
        y: training targets, [n] or [n, outputs].
        x_test: test points, [m, ...].
        noise_std: σ.
        time: t; finite for deep ensembles, whose limit at the end is ill-conditioned.

    Returns:
        Mean, variances and covariance of the members; the noise apart.

    Raises:
        ValueError: a method without such a limit, or as `bayesnn.gradient_flow`.

    Example:
        >>> from bayesnn.networks import Erf, mlp
        >>> from ensembles import anchored
        >>> net = mlp(in_features=1, out_features=1, width=8, depth=1, activation=Erf())
        >>> infinite_width_distribution(
        ...     anchored(), net, [[0.0], [1.0]], [0.0, 1.0], [[2.0]], noise_std=0.1
        ... )
        Predictive(shape=(1,), exact moments)
    """
    if isinstance(method, NTKGPParam | NTKGPLin):
        return ntkgp_distribution(ntk(network), x, y, x_test, noise_std=noise_std, time=time)
    if not isinstance(method, Anchored | DeepEnsemble):
        raise ValueError(
            f"method: {method.name} has no distribution at infinite width: its regulariser shrinks "
            "the initial parameters themselves, which takes even a wide network out of the regime "
            "where it is linear in them; ntkgp_param(), ntkgp_lin(), anchored() and "
            "deep_ensemble() have one."
        )
    return flow_distribution(
        ntk(network).with_nngp,
        nngp(network),
        (x, y, x_test),
        noise_std=noise_std,
        time=time,
        regularised=isinstance(method, Anchored),
    )
