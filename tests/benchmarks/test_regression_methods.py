from dataclasses import replace

import numpy as np
import pytest
import torch

from bayesnn.gp.exact import fit_gp
from benchmarks.regression import ard_gp, prior
from benchmarks.regression.ard_gp import _chosen
from benchmarks.regression.dropout import MCDropout
from benchmarks.regression.laplace import OwnLaplace
from benchmarks.regression.leave_one_out import held_out_noise
from benchmarks.regression.listed import EXACT, FAMILY, NAMES, PEERS, WITH_PRIOR
from benchmarks.regression.mean_field import MeanField
from benchmarks.regression.method import MOST_CANDIDATES
from benchmarks.regression.ntkgp import PRIORS
from benchmarks.regression.perceptron import evaluate, first_params, train

PACKAGES = {
    "boosted trees": "catboost",
    "ARD GP": "gpytorch",
    "ARD GP, our noises": "gpytorch",
    "laplace-torch": "laplace",
}
SHORT = {"steps": 40, "weight_decay": 1e-3}
FIRST = {
    "single network": SHORT,
    "MC dropout": SHORT | {"rate": 0.1},
    "Laplace": SHORT,
    "laplace-torch": SHORT,
    "boosted trees": {"depth": 3, "iterations": 20},
}


def _data(n: int = 40):
    draw = torch.Generator().manual_seed(0)
    X = torch.randn(n, 2, generator=draw, dtype=torch.float64)
    y = (2 * X[:, 0]).sin() + 0.1 * torch.randn(n, generator=draw, dtype=torch.float64)
    return X, (y - y.mean()) / y.std(correction=0)


def _method(name):
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name])
    if name == EXACT.name:
        return EXACT, PRIORS[0]
    if name in WITH_PRIOR:
        return WITH_PRIOR[name].with_prior(PRIORS[0]).smaller(), PRIORS[0]
    method = PEERS[name]
    if isinstance(method, MeanField):
        method = replace(method, steps=20)
    settings = FIRST.get(name, method.candidates[0])
    return method, settings | {"steps": 40} if name == "deep ensemble" else settings


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_numbers_and_far_points_are_finite(name):
    method, settings = _method(name)
    X, y = _data()
    points = torch.cat((X[:3], X[:1] + 50.0))
    first, again, other = (
        method.fit(X, y, settings=settings, seed=seed).predict(points) for seed in (0, 0, 1)
    )
    assert torch.equal(first.mean, again.mean)
    assert torch.equal(first.variance, again.variance)
    assert first.mean.shape == (4,)
    assert bool((first.noise_variance > 0).all())
    assert bool(torch.isfinite(first.variance).all())
    if name in {EXACT.name, "ARD GP"}:  # all rows are taken, in an order of the seed's
        torch.testing.assert_close(first.mean, other.mean, rtol=0.1, atol=0.05)
    else:
        assert not torch.equal(first.mean, other.mean)


def test_names_are_one_each_and_candidates_few():
    assert len(set(NAMES)) == len(NAMES) == 1 + len(WITH_PRIOR) + len(PEERS)
    for method in (EXACT, *WITH_PRIOR.values(), *PEERS.values()):
        assert 1 <= len(method.candidates) <= MOST_CANDIDATES
    assert set(FAMILY) < set(WITH_PRIOR)


def test_the_perceptron_is_torchs_own_network():
    params = first_params(3, seed=0)
    network = torch.nn.Sequential(
        torch.nn.Linear(3, 50), torch.nn.ReLU(), torch.nn.Linear(50, 1)
    ).double()
    network.load_state_dict(params)
    X = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(evaluate(params, X), network(X).squeeze(1))


def test_training_learns_the_function_and_its_noise():
    X, y = _data(400)
    trained = train(X, y, settings={"steps": 600, "weight_decay": 1e-6}, seed=0)
    error = (evaluate(trained.params, X) - y).square().mean().sqrt()
    assert float(error) < 0.3
    assert trained.noise_std == pytest.approx(float(error), rel=0.15)


def test_weight_decay_shrinks_weights():
    X, y = _data()
    norms = []
    for decay in (0.0, 0.1):
        found = train(X, y, settings={"steps": 200, "weight_decay": decay}, seed=0).params
        norms.append(float(found["0.weight"].norm() + found["2.weight"].norm()))
    assert norms[1] < 0.7 * norms[0]


def test_dropout_without_loss_of_units_is_the_single_network():
    X, y = _data()
    settings = SHORT | {"rate": 0.0}
    post = MCDropout().fit(X, y, settings=settings, seed=0).predict(X)
    trained = train(X, y, settings=SHORT, seed=0)
    torch.testing.assert_close(post.mean, evaluate(trained.params, X))
    assert float(post.epistemic_variance.max()) < 1e-20
    spread = MCDropout().fit(X, y, settings=SHORT | {"rate": 0.1}, seed=0).predict(X)
    assert float(spread.epistemic_variance.min()) > 1e-4


def test_laplace_is_the_dense_gauss_newton_posterior():
    X, y = _data()
    fitted = OwnLaplace().fit(X, y, settings=SHORT, seed=0)
    trained = train(X, y, settings=SHORT, seed=0)
    tau = fitted.facts["prior precision"]
    jacobian = torch.func.jacrev(lambda params: evaluate(params, X))(trained.params)
    J = torch.cat([one.flatten(1) for one in jacobian.values()], dim=1)
    precision = J.T @ J / trained.noise_std**2 + tau * torch.eye(J.shape[1], dtype=J.dtype)
    dense = (J @ torch.linalg.solve(precision, J.T)).diagonal()
    post = fitted.predict(X)
    torch.testing.assert_close(post.mean, evaluate(trained.params, X))
    ratio = post.epistemic_variance / dense
    assert 0.8 < float(ratio.mean()) < 1.3  # of 50 samples a variance is known to a fifth
    assert float(post.noise_variance[0]) == pytest.approx(trained.noise_std**2)


def test_laplace_torch_is_the_same_posterior_where_its_precisions_are_ours():
    pytest.importorskip("laplace")
    from benchmarks.regression.laplace_torch import LaplaceTorch

    X, y = _data()
    fitted = LaplaceTorch().fit(X, y, settings=SHORT, seed=0)
    trained = train(X, y, settings=SHORT, seed=0)
    tau, variance = fitted.facts["prior precision"], fitted.facts["noise"] ** 2
    jacobian = torch.func.jacrev(lambda params: evaluate(params, X))(trained.params)
    J = torch.cat([one.flatten(1) for one in jacobian.values()], dim=1)
    precision = J.T @ J / variance + tau * torch.eye(J.shape[1], dtype=J.dtype)
    post = fitted.predict(X)
    torch.testing.assert_close(post.mean, evaluate(trained.params, X))
    dense = (J @ torch.linalg.solve(precision, J.T)).diagonal()
    torch.testing.assert_close(post.epistemic_variance, dense, rtol=1e-4, atol=1e-8)
    assert float(post.noise_variance[0]) == pytest.approx(variance)


@pytest.mark.parametrize(("name", "factor"), [("ARD GP", 1.5), ("ARD GP, our noises", 0.5)])
def test_ard_gp_is_the_textbook_posterior_of_its_scales(name, factor):
    pytest.importorskip("gpytorch")
    X, y = _data()
    settings = {"smoothness": float("inf"), "noise_factor": factor}
    fitted = PEERS[name].fit(X, y, settings=settings, seed=0)
    order = fitted.facts["evidence"], fitted.facts["noise"]
    rows = torch.cat((X, y.unsqueeze(1)), dim=1)
    permutation = _rows_in_order(rows)
    scales = _chosen(permutation, float("inf"))
    assert (scales.evidence, scales.noise_std) == order
    with torch.no_grad():
        length = scales.kernel.base_kernel.lengthscale
        size = float(scales.kernel.outputscale)
    assert float(length[0, 1]) > 2 * float(length[0, 0])  # the second column does not matter

    def kernel(a, b):
        return size * np.exp(-0.5 * torch.cdist(a / length, b / length).numpy() ** 2)

    training = factor * scales.noise_std
    gram = kernel(X, X) + training**2 * np.eye(len(X))
    cross = kernel(X[:4] + 0.3, X)
    post = fitted.predict(X[:4] + 0.3)
    mean = scales.mean + cross @ np.linalg.solve(gram, y.numpy() - scales.mean)
    np.testing.assert_allclose(post.mean, mean, rtol=1e-5)
    variance = size - np.einsum("ij,ji->i", cross, np.linalg.solve(gram, cross.T))
    np.testing.assert_allclose(post.epistemic_variance, variance, rtol=1e-3, atol=1e-7)
    process = fit_gp(lambda a, b=None: torch.as_tensor(kernel(a, a if b is None else b)),
                     X, y - scales.mean, noise_std=training)  # fmt: skip
    noise = {"ARD GP": training, "ARD GP, our noises": held_out_noise(process)}[name]
    np.testing.assert_allclose(post.noise_variance, noise**2, rtol=1e-3)


class _Flat:
    mean, noise_std, evidence = 0.0, 1.0, 0.0

    def __call__(self, a, b=None):
        return torch.ones(len(a), len(a if b is None else b), dtype=torch.float64)


def test_ard_gp_sees_the_rows_that_our_prior_sees(monkeypatch):
    assert ard_gp.MOST_ROWS == prior.MOST_ROWS
    seen = []
    monkeypatch.setattr(ard_gp, "_chosen", lambda rows, _: seen.append(rows) or _Flat())
    X, y = _data(1300)
    PEERS["ARD GP"].fit(X, y, settings=PEERS["ARD GP"].candidates[0], seed=0)
    (rows,) = seen
    assert set(rows) == set(map(tuple, torch.cat((X, y.unsqueeze(1)), dim=1).tolist()))


@pytest.mark.parametrize("smoothness", [2.5, float("inf")])
def test_the_search_maximises_gpytorchs_marginal_likelihood(smoothness):
    gpytorch = pytest.importorskip("gpytorch")
    X, y = _data()
    model = ard_gp._model(gpytorch, X, y, smoothness)
    evidence = ard_gp._maximise(model)
    likelihood = gpytorch.mlls.ExactMarginalLogLikelihood(model.likelihood, model.train())
    there = likelihood(model(X), y)
    assert evidence == pytest.approx(float(there.detach()), rel=1e-9)
    slopes = torch.autograd.grad(there, list(model.parameters()))
    assert max(float(slope.abs().max()) for slope in slopes) < 1e-4


def test_a_search_that_steps_too_far_turns_back(monkeypatch):
    gpytorch = pytest.importorskip("gpytorch")
    X, y = _data()
    undisturbed = ard_gp._maximise(ard_gp._model(gpytorch, X, y, 2.5))
    plain, calls = torch.linalg.cholesky_ex, []

    def fails_twice(matrix):
        calls.append(matrix)
        return plain(matrix * float("nan") if len(calls) in {3, 5} else matrix)

    monkeypatch.setattr(torch.linalg, "cholesky_ex", fails_twice)
    evidence = ard_gp._maximise(ard_gp._model(gpytorch, X, y, 2.5))
    assert len(calls) > 5
    assert evidence == pytest.approx(undisturbed, abs=1e-6)


def _rows_in_order(rows):
    from bayesnn.seeds import seeded_generator
    from benchmarks.regression.ard_gp import MOST_ROWS, PLACE

    order = torch.randperm(len(rows), generator=seeded_generator(0, *PLACE))[:MOST_ROWS]
    return tuple(map(tuple, rows[order].tolist()))


def test_ensembles_take_the_prior_and_its_noise_factor():
    X, y = _data()
    for factor in (0.5, 1.0):
        settings = PRIORS[0] | {"noise_factor": factor}
        post = FAMILY["NTKGP-lin"].fit(X, y, settings=settings, seed=0).predict(X)
        exact = EXACT.fit(X, y, settings=settings, seed=0).predict(X)
        torch.testing.assert_close(
            post.noise_variance.double(), exact.noise_variance, rtol=1e-5, atol=0.0
        )
        off = (post.mean - exact.mean) / exact.epistemic_variance.sqrt()
        assert float(off.square().mean().sqrt()) < 1.0
        assert 0.5 < float((post.epistemic_variance / exact.epistemic_variance).median()) < 2.0
