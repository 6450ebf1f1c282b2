"""Laws of prediction that every method obeys on every device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bayesnn.networks import Erf, mlp
from ensembles import (
    EnsembleRegressor,
    adam,
    anchored,
    deep_ensemble,
    ntkgp_fn,
    ntkgp_lin,
    ntkgp_param,
    randomised_prior,
)
from ensembles.methods.protocol import Method

METHODS = [
    deep_ensemble(), anchored(), randomised_prior(), ntkgp_param(), ntkgp_fn(), ntkgp_lin(),
]  # fmt: skip
RNG = np.random.default_rng(0)
X, X_NEW = RNG.standard_normal((10, 2)), RNG.standard_normal((30, 2))
each_method = pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)


def fitted(method: Method, device: str) -> EnsembleRegressor:
    network = mlp(in_features=2, out_features=1, width=8, depth=1, activation=Erf())
    model = EnsembleRegressor(
        network, method=method, n_members=3, noise_std=0.1, random_state=0, device=device,
        trainer=adam(steps=3), standardize=True,
    )  # fmt: skip
    return model.fit(X, 100 + 7 * X[:, 0])


@each_method
def test_chunks_devices_and_files_change_nothing(
    method: Method, device: str, tmp_path: Path
) -> None:
    """The moments are those of the members, whatever the chunks and wherever the points are."""
    model = fitted(method, device)
    post = model.posterior(X_NEW, keep_members=True, covariance=True)
    assert post.members is not None
    assert post.covariance is not None
    torch.testing.assert_close(post.mean, post.members.mean(0))
    torch.testing.assert_close(post.epistemic_variance, post.members.var(0))
    torch.testing.assert_close(post.covariance, torch.cov(post.members.T))
    assert post.mean.device.type == device
    model.memory_budget = 1
    for points in (X_NEW, torch.tensor(X_NEW, device=device), iter([X_NEW[:4], X_NEW[4:]])):
        found = model.posterior(points)
        torch.testing.assert_close(found.mean, post.mean)
        torch.testing.assert_close(found.epistemic_variance, post.epistemic_variance)
    model.save(tmp_path / "model.ens")
    loaded = EnsembleRegressor.load(tmp_path / "model.ens").predict(X_NEW)
    np.testing.assert_allclose(loaded, post.mean.cpu(), rtol=1e-10)


@pytest.mark.parametrize("method", [ntkgp_param(), ntkgp_lin()], ids=lambda m: m.name)
def test_programs_run_on_the_members_device(method: Method, device: str) -> None:
    model = fitted(method, device)
    found = model.export().module()(torch.tensor(X_NEW, device=device))
    for part, expected in zip(found, model.predict(X_NEW, return_std=True), strict=True):
        assert part.device.type == device
        np.testing.assert_allclose(part.cpu(), expected, rtol=1e-8)
