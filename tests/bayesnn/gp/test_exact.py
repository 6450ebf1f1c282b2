"""Exact Gaussian-process regression against explicit inverses and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from torch import Tensor

from bayesnn.gp import Kernel, fit_gp, gp_posterior
from bayesnn.kernels import ntk
from bayesnn.networks import Erf, mlp
from bayesnn.seeds import seeded_generator
from tests.reference.erf_kernels import gp_posterior_naive

_NETWORK = mlp(in_features=2, out_features=1, width=4, depth=2, activation=Erf())


def rbf(x1: Tensor, x2: Tensor | None = None) -> Tensor:
    other = x1 if x2 is None else x2
    return torch.exp(-0.5 * torch.cdist(x1, other) ** 2)


def _data(device: str, n_outputs: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    generator = seeded_generator(0)
    x = torch.randn(9, 2, dtype=torch.float64, generator=generator)
    y = torch.randn(9, *([] if n_outputs is None else [n_outputs]), dtype=torch.float64,
                    generator=generator)  # fmt: skip
    points = torch.randn(5, 2, dtype=torch.float64, generator=generator)
    return x.to(device), y.to(device), points.to(device)


def test_the_marginal_likelihood_of_outputs_is_that_of_each_added() -> None:
    x, y, _ = _data("cpu", 3)
    whole = fit_gp(rbf, x, y, noise_std=0.3).log_marginal_likelihood()
    each = [fit_gp(rbf, x, column, noise_std=0.3).log_marginal_likelihood() for column in y.T]
    torch.testing.assert_close(whole, torch.stack(each).sum())


@pytest.mark.parametrize("n_outputs", [None, 1, 3])
def test_the_posterior_equals_the_naive_formula(n_outputs: int | None, device: str) -> None:
    x, y, points = _data(device, n_outputs)
    post = gp_posterior(rbf, x, y, points, noise_std=0.3)
    mean, covariance = gp_posterior_naive(
        rbf(x).cpu().numpy(), rbf(points, x).cpu().numpy(), rbf(points).cpu().numpy(),
        y.cpu().numpy(), 0.3,
    )  # fmt: skip
    np.testing.assert_allclose(post.mean.cpu().numpy(), mean, rtol=1e-9, atol=1e-12)
    assert post.covariance is not None
    each = post.covariance.cpu().numpy()
    for one in each if n_outputs else [each]:
        np.testing.assert_allclose(one, covariance, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(post.noise_variance.cpu().numpy(), 0.09)
    torch.testing.assert_close(post.variance, post.epistemic_variance + 0.09)
    assert post.mean.shape == (5, *y.shape[1:])


@pytest.mark.parametrize("kernel", [rbf, ntk(_NETWORK)])
@pytest.mark.parametrize("n_outputs", [None, 2])
def test_marginals_are_those_of_the_posterior(kernel: Kernel, n_outputs: int | None) -> None:
    """In one chunk and point by point; only the covariance is missing."""
    x, y, points = _data("cpu", n_outputs)
    process = fit_gp(kernel, x, y, noise_std=0.3)
    whole = process.posterior(points)
    for budget in (1, 2**27):
        found = process.marginals(points, memory_budget=budget)
        assert found.covariance is None
        torch.testing.assert_close(found.mean, whole.mean)
        torch.testing.assert_close(found.epistemic_variance, whole.epistemic_variance)
        torch.testing.assert_close(found.noise_variance, whole.noise_variance)


def test_the_marginal_likelihood_and_its_gradient() -> None:
    """Against scikit-learn, and against finite differences."""
    x, y, _ = _data("cpu")
    theirs = GaussianProcessRegressor(RBF(1.0, "fixed"), alpha=0.3**2, optimizer=None)
    theirs.fit(x.numpy(), y.numpy())
    ours = fit_gp(rbf, x, y, noise_std=0.3).log_marginal_likelihood()
    assert float(ours) == pytest.approx(theirs.log_marginal_likelihood(), rel=1e-10)

    def likelihood(scale: Tensor, noise: Tensor) -> Tensor:
        return fit_gp(
            lambda a, b=None: scale * rbf(a, b), x, y, noise_std=noise
        ).log_marginal_likelihood()

    given = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (1.3, 0.4)]
    assert torch.autograd.gradcheck(likelihood, given)


def test_what_cannot_be_solved_is_said() -> None:
    x, y, _ = _data("cpu")
    twice = torch.cat((x, x)).float()
    with pytest.raises(ValueError, match="not positive definite"):
        fit_gp(lambda a, b=None: -rbf(a, b), x, y, noise_std=0.1)
    with pytest.raises(ValueError, match="noise_std"):
        fit_gp(rbf, x, y, noise_std=0.0)
    with pytest.raises(ValueError, match="y: expected 9 rows"):
        fit_gp(rbf, x, y[:8], noise_std=0.1)
    with pytest.raises(ValueError, match="y: expected finite"):
        fit_gp(rbf, x, y * float("nan"), noise_std=0.1)
    jittered = fit_gp(rbf, twice, torch.cat((y, y)).float(), noise_std=1e-4, jitter=1e-3)
    assert bool(jittered.weights.isfinite().all())
