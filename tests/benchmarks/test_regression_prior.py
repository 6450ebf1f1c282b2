import numpy as np
import pytest
import torch

from bayesnn.gp.marginal_likelihood import _Problem
from bayesnn.gp.regression import regression_data
from bayesnn.kernels import ntk, with_input_scales
from benchmarks.regression import prior as module
from benchmarks.regression.ntkgp import ExactNTKGP, prior_of
from benchmarks.regression.prior import all_inputs, choose_prior, each_input

NAMES = ["0.weight_std", "0.bias_std", "2.weight_std", "2.bias_std", "0.input_scale", "1.input_scale"]  # noqa: E501  # fmt: skip


def _data(n: int = 60):
    draw = torch.Generator().manual_seed(0)
    X = torch.randn(n, 3, generator=draw, dtype=torch.float64)
    y = (2 * X[:, 0]).sin() + 0.1 * torch.randn(n, generator=draw, dtype=torch.float64)
    return X, (y - y.mean()) / y.std()


def test_groups():
    inputs = ("0.input_scale", "1.input_scale")
    assert all_inputs(NAMES) == [("2.weight_std",), inputs]
    assert each_input(NAMES) == [("2.weight_std",), inputs[:1], inputs[1:]]


@pytest.mark.parametrize("groups", [each_input, all_inputs])
def test_the_choice_raises_the_marginal_likelihood(groups):
    X, y = _data()
    found = choose_prior(X, y, groups=groups, seed=0)
    assert found.evidence > found.first_evidence + 0.1
    kernel = found.kernel()(found.inputs(X)).numpy()
    covariance = kernel + found.noise_std**2 * np.eye(len(X))
    _, logdet = np.linalg.slogdet(covariance)
    naive = -0.5 * (y.numpy() @ np.linalg.solve(covariance, y.numpy()) + logdet)
    naive -= 0.5 * len(X) * np.log(2 * np.pi)
    assert found.evidence == pytest.approx(naive / len(X), rel=1e-8)


def test_scales_of_inputs_tell_what_matters_and_only_where_each_has_its_own():
    X, y = _data()
    own = choose_prior(X, y, groups=each_input, seed=0)
    shared = choose_prior(X, y, groups=all_inputs, seed=0)
    assert own.input_scales[0] > 3 * max(own.input_scales[1:])
    assert len(set(shared.input_scales)) == 1
    assert own.evidence > shared.evidence
    assert own.weight_stds[0] == shared.weight_stds[0] == 1.0


def test_slopes_of_the_marginal_likelihood_are_finite_differences():
    X, y = _data(20)
    network = choose_prior(X, y, groups=each_input, seed=0).network(width=1, seed=0)
    kernel = with_input_scales(ntk(network), [1.0, 0.5, 2.0])
    start = {name: float(value) for name, value in kernel.hyperparameters.items()}
    problem = _Problem(
        kernel=kernel, data=regression_data(X, y), start=start, groups=each_input(start)
    )
    at = np.array([0.1, -0.2, 0.3, 0.05, -1.0])
    _, slope = problem.value_and_gradient(at)
    for i in range(len(at)):
        step = 1e-5 * np.eye(len(at))[i]
        up, down = (problem.value_and_gradient(at + sign * step)[0] for sign in (1, -1))
        assert slope[i] == pytest.approx((up - down) / 2e-5, rel=1e-5, abs=1e-6)


def test_the_network_has_the_prior_of_the_kernel():
    X, y = _data(8)
    prior = choose_prior(X, y, groups=each_input, seed=0)
    wide = prior.network(width=4, seed=0).double()
    torch.testing.assert_close(ntk(wide)(prior.inputs(X)), prior.kernel()(prior.inputs(X)))
    layers = [layer for layer in wide if hasattr(layer, "weight_std")]
    assert tuple(layer.weight_std for layer in layers) == prior.weight_stds
    assert layers[0].weight.shape == (4, 3)


def test_more_rows_than_are_taken_are_drawn_by_the_seed(monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS", 15)
    X, y = _data()
    first, again, other = (choose_prior(X, y, groups=all_inputs, seed=s) for s in (0, 0, 1))
    assert first == again
    assert first.noise_std != other.noise_std


def test_the_exact_process_is_the_textbook_posterior():
    X, y = _data(30)
    settings = {"groups": all_inputs, "noise_factor": 1.5}
    fitted = ExactNTKGP().fit(X, y, settings=settings, seed=0)
    prior = prior_of(settings, X, y, seed=0)
    points = torch.randn(5, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    k = prior.kernel()
    noise = (1.5 * prior.noise_std) ** 2
    gram = k(prior.inputs(X)).numpy() + noise * np.eye(30)
    cross = k(prior.inputs(points), prior.inputs(X)).numpy()
    post = fitted.predict(points)
    np.testing.assert_allclose(post.mean, cross @ np.linalg.solve(gram, y.numpy()), rtol=1e-6)
    expected = k(prior.inputs(points)).numpy() - cross @ np.linalg.solve(gram, cross.T)
    np.testing.assert_allclose(post.epistemic_variance, np.diag(expected), rtol=1e-5)
    std = np.sqrt(np.diag(k(prior.inputs(X)).numpy()) + prior.noise_std**2)
    share = (np.abs(y.numpy()) < 1.959964 * std).mean()
    assert fitted.facts["targets in prior's 95 %"] == pytest.approx(share)
