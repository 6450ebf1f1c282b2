"""From a method to the distribution of its members at infinite width."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bayesnn.gp import gp_posterior
from bayesnn.gradient_flow import anchored_distribution, deep_ensemble_distribution
from bayesnn.kernels import nngp, ntk
from bayesnn.networks import Erf, mlp
from bayesnn.predictive import Predictive
from bayesnn.seeds import seeded_generator
from ensembles import (
    anchored,
    deep_ensemble,
    infinite_width_distribution,
    ntkgp_fn,
    ntkgp_lin,
    ntkgp_param,
    randomised_prior,
)
from ensembles.methods.protocol import Method

NETWORK = mlp(in_features=2, out_features=1, width=4, depth=2, activation=Erf(), bias_std=0.3)


def _data() -> tuple[Tensor, Tensor, Tensor]:
    generator = seeded_generator(3)
    x, points = (torch.randn(n, 2, dtype=torch.float64, generator=generator) for n in (7, 4))
    return x, x.sum(1).sin(), 2 * points


def _same(one: Predictive, other: Predictive) -> None:
    torch.testing.assert_close(one.mean, other.mean)
    torch.testing.assert_close(one.covariance, other.covariance)
    torch.testing.assert_close(one.noise_variance, other.noise_variance)


@pytest.mark.parametrize("method", [ntkgp_param(), ntkgp_lin()])
def test_ntkgp_members_are_posterior_samples(method: Method) -> None:
    data = _data()
    found = infinite_width_distribution(method, NETWORK, *data, noise_std=0.2)
    _same(found, gp_posterior(ntk(NETWORK), *data, noise_std=0.2))


def test_anchored_and_deep_ensembles_start_from_the_nngp_and_follow_the_ntk() -> None:
    """From both kernels in one pass, as from each on its own."""
    data, kernels = _data(), (nngp(NETWORK), ntk(NETWORK))
    found = infinite_width_distribution(anchored(), NETWORK, *data, noise_std=0.2)
    _same(found, anchored_distribution(*kernels, *data, noise_std=0.2))
    found = infinite_width_distribution(deep_ensemble(), NETWORK, *data, noise_std=0.2, time=50.0)
    _same(found, deep_ensemble_distribution(*kernels, *data, noise_std=0.2, time=50.0))
    with pytest.raises(ValueError, match="finite flow time"):
        infinite_width_distribution(deep_ensemble(), NETWORK, *data, noise_std=0.2)


@pytest.mark.parametrize("method", [ntkgp_fn(), randomised_prior()])
def test_methods_that_shrink_the_start_have_none(method: Method) -> None:
    with pytest.raises(ValueError, match=f"{method.name} has no distribution at infinite width"):
        infinite_width_distribution(method, NETWORK, *_data(), noise_std=0.2)
