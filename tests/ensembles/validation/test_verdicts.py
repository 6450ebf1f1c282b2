"""Trained ensembles before the test: samples of the posterior pass, others do not.

One hidden layer is wide at little cost; the smooth posterior of ten points leaves twelve directions
in which members can be told from samples.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from bayesnn.gp import gp_posterior
from bayesnn.kernels import ntk
from bayesnn.networks import Erf, mlp
from ensembles import EnsembleRegressor, deep_ensemble, ntkgp_lin, ntkgp_param, validate
from ensembles.methods.ntkgp_param import NTKGPParam
from ensembles.methods.protocol import Method
from ensembles.validation import Validation

X = np.concatenate([np.linspace(-2, -0.7, 5), np.linspace(0.7, 2, 5)])[:, None]
Y = (X * np.sin(X))[:, 0]
POINTS = torch.linspace(-6, 6, 25, dtype=torch.float64).unsqueeze(1)
NOISE, MEMBERS = 0.3, 36


class Unperturbed(NTKGPParam):
    """NTKGP-param on the data as they are: its members lack the noise that they assume."""

    perturbs_targets: ClassVar[bool] = False


def _network(width: int, weight_std: float = 1.5) -> nn.Module:
    return mlp(
        in_features=1, out_features=1, width=width, depth=1, activation=Erf(),
        weight_std=weight_std, bias_std=0.5,
    )  # fmt: skip


def _verdict(method: Method, width: int, weight_std: float = 1.5) -> Validation:
    """Return the comparison with the NTKGP posterior of weight_std 1.5."""
    kernel = ntk(_network(1))
    exact = gp_posterior(kernel, torch.tensor(X), torch.tensor(Y), POINTS, noise_std=NOISE)
    model = EnsembleRegressor(
        _network(width, weight_std), method=method, n_members=MEMBERS, noise_std=NOISE,
        random_state=1,
    ).fit(X, Y)  # fmt: skip
    return validate(model, exact, POINTS, prior_variance=kernel.diagonal(POINTS))


@pytest.mark.parametrize(
    ("method", "width"), [(ntkgp_param(), 2048), (ntkgp_lin(), 2048)], ids=lambda v: str(v)[:8]
)
def test_members_of_wide_networks_may_be_samples(method: Method, width: int) -> None:
    report = _verdict(method, width)
    assert report.accepts(0.05), report
    for part in (report.all_points, report.near, report.far):
        assert part is not None
        assert part.mean_error < 3 * part.mean_error_floor
        # the error bars are one standard deviation of exact samples
        assert abs(part.std_ratio - 1) < 4 * part.std_ratio_error
    assert report.covariance_error < 3 * report.covariance_error_floor


@pytest.mark.parametrize(
    ("method", "weight_std", "least", "most"),
    [
        (deep_ensemble(), 1.5, 0.0, 0.3),
        (Unperturbed(), 1.5, 0.5, 0.9),
        (ntkgp_param(), 1.0, 0.5, 0.9),
        (ntkgp_param(), 2.0, 1.1, 1.5),
    ],
    ids=["deep ensemble", "unperturbed", "weights too small", "weights too large"],
)
def test_what_is_no_sample_of_the_posterior_is_rejected(
    method: Method, weight_std: float, least: float, most: float
) -> None:
    report = _verdict(method, 2048, weight_std)
    assert not report.accepts(0.01)
    assert report.p_value < 0.002, report
    assert report.test.p_covariance < 0.01
    assert least < report.all_points.std_ratio < most


def test_too_narrow_a_network_is_rejected() -> None:
    """Members of 8 hidden units are far from Gaussian, however they were trained."""
    report = _verdict(ntkgp_param(), 8)
    assert not report.accepts(0.01), report
