"""Student's t distribution in torch, accurate from one degree of freedom to the Gaussian limit."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from scipy.special import stdtrit
from torch import Tensor

_GAUSSIAN_FROM = 1e10
"""Beyond so many degrees of freedom t and Gaussian agree to ten digits."""


def welch_satterthwaite(
    epistemic_variance: Float[Tensor, "*shape"],
    noise_variance: Float[Tensor, "*shape"],
    n_members: int,
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Squared scale and degrees of freedom of an observation, given moments of a few members.

    The distance of an observation from the members' mean has variance v(1 + 1/M) + σ². Here v is
    estimated by s² with M − 1 degrees of freedom and σ² is known, so

    scale² = s²(1 + 1/M) + σ²,    degrees = (M − 1)·(scale² / (s²(1 + 1/M)))².

    Args:
        epistemic_variance: s², the members' unbiased variance.
        noise_variance: σ², taken as known.
        n_members: M, at least 2.

    Returns:
        scale² and degrees of freedom, the latter between M − 1 and 1e10.

    Source:
        Welch, Biometrika 34, 1947; Satterthwaite, Biometrics Bulletin 2, 1946.

    Example:
        >>> one = torch.ones(1)
        >>> welch_satterthwaite(one, torch.zeros(1), 4)
        (tensor([1.2500]), tensor([3.]))
    """
    estimated = epistemic_variance * (1 + 1 / n_members)
    scale2 = estimated + noise_variance
    share = torch.where(scale2 > 0, estimated / scale2, torch.ones_like(scale2))
    degrees = (n_members - 1) / share.double().square()
    return scale2, degrees.clamp(max=_GAUSSIAN_FROM).to(scale2.dtype)


def t_quantile(q: float, degrees: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Quantile of the standard t distribution.

    Args:
        q: probability, strictly between 0 and 1.
        degrees: degrees of freedom, above 0.

    Returns:
        The values t with P(T ≤ t) = q, on the device and in the dtype of `degrees`.

    Example:
        >>> t_quantile(0.975, torch.tensor([1.0, 19.0]))
        tensor([12.7062,  2.0930])
    """
    values = stdtrit(degrees.detach().double().cpu().numpy(), q)
    return torch.as_tensor(values, dtype=degrees.dtype, device=degrees.device)


def t_log_density(
    z: Float[Tensor, "*shape"], degrees: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Log density of the standard t distribution.

    log Γ((ν+1)/2) − log Γ(ν/2) − ½ log(νπ) − ½(ν+1) log(1 + z²/ν); the difference of the first two
    is taken from its asymptotic series where ν is large, because there it cancels.

    Args:
        z: where to evaluate.
        degrees: ν, degrees of freedom, above 0.

    Returns:
        Log densities, in the dtype of `z`.

    Example:
        >>> t_log_density(torch.zeros(1), torch.ones(1)).exp()  # 1/π
        tensor([0.3183])
    """
    nu = degrees.double()
    large = nu.clamp(min=100.0)
    series = 0.5 * torch.log(large / 2) - 1 / (4 * large) + 1 / (24 * large**3)
    exact = torch.lgamma((nu + 1) / 2) - torch.lgamma(nu / 2)
    gammas = torch.where(nu > 1000, series, exact)
    tail = 0.5 * (nu + 1) * torch.log1p(z.double().square() / nu)
    return (gammas - 0.5 * torch.log(nu * math.pi) - tail).to(z.dtype)
