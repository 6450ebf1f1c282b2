"""Losses and likelihoods against their definitions, and noise that depends on X."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from bayesnn.networks import Erf, mlp
from bayesnn.seeds import seeded_generator
from ensembles import (
    EnsembleRegressor,
    adam,
    gauss_newton,
    gaussian,
    heteroscedastic,
    one_hot_regression,
)
from ensembles.likelihoods.one_hot_regression import OneHotRegression
from ensembles.losses import CrossEntropy, GaussianError, SquaredError


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=seeded_generator(seed))


def test_gaussian_error_is_the_negative_log_density() -> None:
    noise = torch.tensor([0.2, 3.0], dtype=torch.float64)
    loss = GaussianError(noise_std=noise, scale=0.5, bound=6.0, beta=0.5)
    values, targets = _random(3, 5, 4), _random(3, 5, 2, seed=1)
    std = noise * (3.0 * torch.tanh(0.5 / 6.0 * values[..., 2:])).exp()
    density = torch.distributions.Normal(values[..., :2], std).log_prob(targets)
    expected = -density.sum(-1) - 2 * 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(loss(values, targets), expected)


def test_squared_error_is_the_least_variance_times_the_negative_log_density() -> None:
    """Up to a constant; the regulariser's factor is the same."""
    noise = torch.tensor([0.2, 3.0], dtype=torch.float64)
    loss = SquaredError(noise_std=noise)
    values, targets = _random(3, 5, 2), _random(3, 5, 2, seed=1)
    density = torch.distributions.Normal(values, noise)
    lost = (density.log_prob(values) - density.log_prob(targets)).sum(-1)
    torch.testing.assert_close(loss(values, targets), 0.2**2 * lost)
    assert loss.pull == pytest.approx(0.2**2)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_beta_weights_the_gradient_of_each_target_by_a_power_of_its_variance(beta: float) -> None:
    """With β = 1 that of a mean is σ⁻² times the residual, whatever the variance."""
    noise = torch.tensor([0.2, 3.0], dtype=torch.float64)
    values, targets = _random(3, 5, 4).requires_grad_(), _random(3, 5, 2, seed=1)
    plain, weighted = (
        GaussianError(noise_std=noise, scale=0.5, bound=6.0, beta=power) for power in (0.0, beta)
    )
    of_plain, of_weighted = (
        torch.autograd.grad(loss(values, targets).sum(), values)[0] for loss in (plain, weighted)
    )
    ratio = (plain.log_variance(values.detach()).exp() / noise**2) ** beta
    torch.testing.assert_close(of_weighted, of_plain * torch.cat((ratio, ratio), dim=-1))
    if beta == 1:
        residual = values.detach()[..., :2] - targets
        torch.testing.assert_close(of_weighted[..., :2], residual / noise**2)


def test_the_variance_stays_within_its_bound() -> None:
    like = heteroscedastic(bound=2.0)
    one = torch.ones(1, dtype=torch.float64)
    values = torch.tensor([[[0.0, -1e6], [0.0, 1e6], [0.0, 0.0]]], dtype=torch.float64)
    found = like.noise_variance(values, 3.0 * one)[:, 0]
    torch.testing.assert_close(found, 9 * torch.tensor([-2.0, 2.0, 0.0]).double().exp())


def test_cross_entropy_is_torchs() -> None:
    values = _random(3, 5, 4)
    codes = torch.tensor([0, 3, 1, 1, 2])
    one_hot = torch.nn.functional.one_hot(codes, 4).to(values)
    for member in range(3):
        expected = torch.nn.functional.cross_entropy(values[member], codes, reduction="none")
        torch.testing.assert_close(CrossEntropy()(values[member], one_hot), expected)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_one_hot_targets_of_balanced_classes_have_mean_0_and_variance_1(classes: int) -> None:
    one_hot = torch.eye(classes, dtype=torch.float64)
    targets = one_hot_regression().targets(one_hot)
    torch.testing.assert_close(targets.mean(0), torch.zeros(classes, dtype=torch.float64))
    torch.testing.assert_close(targets.square().mean(0), torch.ones(classes, dtype=torch.float64))


def test_a_given_noise_is_in_units_of_the_indicators() -> None:
    x, one_hot = _random(4, 2), torch.eye(4, dtype=torch.float64)[:, :2]
    like = one_hot_regression(noise_std=0.1)
    loss = like.loss(torch.nn.Identity(), x, like.targets(one_hot), seed=0, row_weight=None)
    scale = float(like.targets(one_hot)[0, 0] - like.targets(one_hot)[1, 0])
    torch.testing.assert_close(loss.noise_std, torch.full((2,), 0.1 * scale).double())


def _noisy(n: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (n, 1))
    std = np.where(x[:, 0] > 0, 0.5, 0.05)
    return x, np.sin(x[:, 0]) + std * rng.standard_normal(n), std


def _network(out_features: int = 2) -> torch.nn.Module:
    return mlp(
        in_features=1, out_features=out_features, width=48, depth=2, activation=Erf(),
        weight_std=1.5, bias_std=1.0, generator=seeded_generator(1),
    )  # fmt: skip


def _model(**settings: object) -> EnsembleRegressor:
    defaults: dict[str, object] = {
        "network": _network(),
        "likelihood": heteroscedastic(),
        "n_members": 2,
        "standardize": True,
        "random_state": 0,
        "trainer": adam(steps=300, batch_size=100),
    }
    return EnsembleRegressor(**(defaults | settings))


def test_noise_that_depends_on_x_is_found() -> None:
    """The network knows no step, so the points beside it are left out."""
    x, y, _ = _noisy()
    post = _model().fit(x, y).posterior([[-1.5], [-0.8], [0.8], [1.5]])
    found = post.noise_variance.sqrt().numpy()
    assert (found[:2] < 0.15).all()
    np.testing.assert_allclose(found[2:], 0.5, rtol=0.3)
    x_new, y_new = np.concatenate((x[1::2], x[::2])), np.concatenate((y[1::2], y[::2]))
    half = len(x_new) // 2
    scores = [
        -float(model.fit(x_new[:half], y_new[:half]).posterior(x_new[half:]).log_prob(
            y_new[half:]).mean())
        for model in (_model(), _model(network=_network(1), likelihood=gaussian()))
    ]  # fmt: skip
    assert scores[0] < scores[1] - 0.3


def test_moments_are_those_of_the_mixture_and_in_units_of_y() -> None:
    x, y, _ = _noisy(60)
    quick = adam(steps=20)
    model = _model(trainer=quick).fit(x, 1000 * y + 7)
    post = model.posterior(x, keep_members=True)
    (values,) = model._member_chunks(x)
    scale = float(model.standardizer_.y_scale)
    means = values[..., 0] * scale + float(model.standardizer_.y_mean)
    change = 6.0 * torch.tanh(0.5 / 6.0 * values[..., 1])
    variances = float(model.noise_std_) ** 2 * change.exp()
    assert post.members is not None
    torch.testing.assert_close(post.members, means)
    torch.testing.assert_close(post.mean, means.mean(0))
    torch.testing.assert_close(post.epistemic_variance, means.var(0))
    torch.testing.assert_close(post.noise_variance, variances.mean(0))
    plain = _model(trainer=quick).fit(x, y).posterior(x)
    torch.testing.assert_close(post.noise_variance, 1e6 * plain.noise_variance, rtol=1e-5, atol=0)


def test_several_outputs_have_their_own_noise() -> None:
    x, y, _ = _noisy()
    both = np.stack((y, 10 * y), axis=1)
    model = _model(network=_network(4), trainer=adam(steps=300, batch_size=100)).fit(x, both)
    noise = model.posterior([[-1.5], [1.5]]).noise_variance
    assert noise.shape == (2, 2)
    np.testing.assert_allclose(noise[1].sqrt().numpy(), [0.5, 5.0], rtol=0.4)


def test_the_default_network_has_twice_the_outputs_and_others_are_refused() -> None:
    x, y, _ = _noisy(30)
    model = _model(network=None, trainer=adam(steps=2)).fit(x, y)
    assert model.posterior(x).mean.shape == (30,)
    with pytest.raises(ValueError, match="out_features=2"):
        _model(network=_network(1)).fit(x, y)
    with pytest.raises(ValueError, match="squares only"):
        _model(trainer=gauss_newton()).fit(x, y)


@pytest.mark.parametrize("setting", [{"scale": 0.0}, {"bound": -1.0}, {"beta": -0.5}])
def test_impossible_settings_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"above 0|at least 0"):
        heteroscedastic(**setting)


def test_one_hot_noise_is_refused_at_0() -> None:
    with pytest.raises(ValueError, match="noise_std"):
        one_hot_regression(noise_std=0.0)
    assert one_hot_regression() == OneHotRegression(noise_std=None)
