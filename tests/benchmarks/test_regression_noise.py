import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from bayesnn import Predictive
from bayesnn.gp.exact import fit_gp
from benchmarks.regression.leave_one_out import held_out_noise
from benchmarks.regression.listed import FAMILY
from benchmarks.regression.ntkgp import ExactNTKGP, Noise, noise_of, prior_of
from benchmarks.regression.prior import all_inputs

SETTINGS = {"groups": all_inputs, "noise_factor": 0.5}


def _data(n: int = 60, noise: float = 0.3):
    draw = torch.Generator().manual_seed(0)
    X = torch.randn(n, 2, generator=draw, dtype=torch.float64)
    y = X[:, 0].sin() + noise * torch.randn(n, generator=draw, dtype=torch.float64)
    return X, y


def _kernel(a, b=None):
    return torch.exp(-torch.cdist(a, a if b is None else b).square() / 2)


@pytest.mark.parametrize("training", [0.05, 0.3, 1.0])
def test_leaving_rows_out_is_a_process_without_them(training):
    X, y = _data(25)
    means, variances = np.empty(25), np.empty(25)
    for i in range(25):
        others = torch.arange(25) != i
        post = fit_gp(_kernel, X[others], y[others], noise_std=training).marginals(X[i : i + 1])
        means[i], variances[i] = post.mean.item(), post.epistemic_variance.item()

    def nll(log_noise):
        std = np.sqrt(variances + np.exp(2 * log_noise))
        return -norm.logpdf(y.numpy(), means, std).sum()

    naive = np.exp(minimize_scalar(nll, bounds=(np.log(1e-3), np.log(3.0)), method="bounded").x)
    found = held_out_noise(fit_gp(_kernel, X, y, noise_std=training))
    assert found == pytest.approx(naive, rel=0.02)


def test_the_noise_is_found_however_closely_rows_are_followed():
    X, y = _data(400)
    for training in (0.15, 0.3):
        found = held_out_noise(fit_gp(_kernel, X, y, noise_std=training))
        assert found == pytest.approx(0.3, rel=0.1)


def test_training_rows_are_followed_and_new_rows_get_their_own_noise():
    X, y = _data()
    y = (y - y.mean()) / y.std()
    prior = prior_of(SETTINGS, X, y, seed=0)
    noise = noise_of(prior, SETTINGS, X, y)
    assert noise.training == pytest.approx(0.5 * prior.noise_std)
    process = fit_gp(prior.kernel(), prior.inputs(X), y, noise_std=noise.training)
    assert noise.predictive == held_out_noise(process) > noise.training
    fitted = ExactNTKGP().fit(X, y, settings=SETTINGS, seed=0)
    post, expected = fitted.predict(X), process.marginals(prior.inputs(X))
    torch.testing.assert_close(post.mean, expected.mean)
    torch.testing.assert_close(post.epistemic_variance, expected.epistemic_variance)
    torch.testing.assert_close(post.noise_variance, torch.full_like(y, noise.predictive**2))
    assert fitted.facts["predictive noise"] == noise.predictive


def test_a_prediction_keeps_all_but_its_noise():
    members = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    before = Predictive.from_members(members, 0.01, keep_members=True)
    after = Noise(training=0.1, predictive=0.7).of(before)
    assert torch.equal(after.mean, before.mean)
    assert torch.equal(after.epistemic_variance, before.epistemic_variance)
    assert torch.equal(after.members, members)
    assert after.n_members == 5
    torch.testing.assert_close(after.noise_variance, torch.full((4,), 0.49))


def test_small_noise_leaves_linear_members_near_the_exact_process():
    draw = torch.Generator().manual_seed(1)
    X = torch.randn(120, 2, generator=draw, dtype=torch.float64)
    y = (2 * X[:, 0]).sin()  # without noise, so that its σ is as small as it may be
    y = (y - y.mean()) / y.std()
    exact = ExactNTKGP().fit(X, y, settings=SETTINGS, seed=0)
    assert exact.facts["training noise"] < 1e-3
    points = 0.5 * torch.randn(50, 2, generator=draw, dtype=torch.float64)
    post = FAMILY["NTKGP-lin"].fit(X, y, settings=SETTINGS, seed=0).predict(points)
    off = post.mean - exact.predict(points).mean
    assert float(off.square().mean().sqrt()) < 0.02
