"""Infinite-width ensembles under gradient flow: limits, laws, and a flow in small steps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bayesnn.gp import gp_posterior
from bayesnn.gradient_flow import (
    anchored_distribution,
    deep_ensemble_distribution,
    ntkgp_distribution,
)
from bayesnn.kernels import nngp, ntk
from bayesnn.networks import Erf, mlp
from bayesnn.seeds import seeded_generator

NETWORK = mlp(in_features=2, out_features=1, width=4, depth=2, activation=Erf(), bias_std=0.3)
NOISE = 0.4


def _data() -> tuple[Tensor, Tensor, Tensor]:
    generator = seeded_generator(3)
    draws = [torch.randn(n, 2, dtype=torch.float64, generator=generator) for n in (7, 4)]
    return draws[0], draws[0].sum(1).sin(), 2 * draws[1]


def test_the_end_is_the_posterior_and_the_start_is_the_prior() -> None:
    x, y, points = _data()
    end = ntkgp_distribution(ntk(NETWORK), x, y, points, noise_std=NOISE)
    exact = gp_posterior(ntk(NETWORK), x, y, points, noise_std=NOISE)
    torch.testing.assert_close(end.mean, exact.mean)
    torch.testing.assert_close(end.covariance, exact.covariance)
    start = anchored_distribution(
        nngp(NETWORK), ntk(NETWORK), x, y, points, noise_std=NOISE, time=0.0
    )
    torch.testing.assert_close(start.mean, torch.zeros_like(start.mean))
    torch.testing.assert_close(start.covariance, nngp(NETWORK)(points))


@pytest.mark.parametrize("regularised", [True, False])
def test_the_flow_equals_many_small_steps_of_linear_members(*, regularised: bool) -> None:
    """Euler's method on f at data and test points; its error falls as the step does.

    d f_*/dt = −Θ_*X (f_X + σ² a − y)/N with a the members' coefficients in Θ, a' alike: for
    regularised members dθ/dt also pulls to θ₀.
    """
    x, y, points = _data()
    theta, k = ntk(NETWORK), nngp(NETWORK)
    time, steps, n = 20.0, 20_000, len(x)
    noise = NOISE**2 if regularised else 0.0
    # f_X = f₀_X + Θ a, f_* = f₀_* + Θ_*X a, with a linear in (f₀_X, y + σε): follow the maps
    kernel = theta(x)
    gain = torch.zeros(n, n, dtype=torch.float64)  # a = gain · (targets − f₀_X)
    eye = torch.eye(n, dtype=torch.float64)
    for _ in range(steps):
        gain = gain + time / steps / n * (eye - (kernel + noise * eye) @ gain)
    cross = theta(points, x) @ gain
    mean = cross @ y
    covariance = (
        k(points) - cross @ k(x, points) - k(points, x) @ cross.T
        + cross @ (k(x) + noise * eye) @ cross.T
    )  # fmt: skip
    distribution = anchored_distribution if regularised else deep_ensemble_distribution
    found = distribution(k, theta, x, y, points, noise_std=NOISE, time=time)
    torch.testing.assert_close(found.mean, mean, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(found.covariance, covariance, rtol=2e-3, atol=2e-3)


def test_deep_ensembles_are_never_wider_than_the_ntkgp_posterior() -> None:
    """Θ − K is positive semi-definite, so C_NTKGP − C_deep is, at long times."""
    x, y, points = _data()
    wide = ntkgp_distribution(ntk(NETWORK), x, y, points, noise_std=NOISE).covariance
    deep = deep_ensemble_distribution(
        nngp(NETWORK), ntk(NETWORK), x, y, points, noise_std=NOISE, time=1e7
    ).covariance
    assert wide is not None and deep is not None  # noqa: PT018
    assert float(torch.linalg.eigvalsh(wide - deep)[0]) > 0


def test_several_outputs_are_alike() -> None:
    x, y, points = _data()
    both = ntkgp_distribution(
        ntk(NETWORK), x, torch.stack((y, -y), 1), points, noise_std=NOISE, time=30.0
    )
    one = ntkgp_distribution(ntk(NETWORK), x, y, points, noise_std=NOISE, time=30.0)
    torch.testing.assert_close(both.mean[:, 1], -one.mean)
    torch.testing.assert_close(both.epistemic_variance[:, 1], one.epistemic_variance)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"time": math.inf}, "finite flow time"), ({"time": -1.0}, "at least 0"),
     ({"time": 1.0, "noise_std": 0.0}, "noise_std")],
)  # fmt: skip
def test_bad_settings(settings: dict[str, float], message: str) -> None:
    x, y, points = _data()
    given = {"noise_std": NOISE} | settings
    with pytest.raises(ValueError, match=message):
        deep_ensemble_distribution(nngp(NETWORK), ntk(NETWORK), x, y, points, **given)
