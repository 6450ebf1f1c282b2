"""Student's t likelihood against scipy, its limits, and data with heavy tails."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesnn.networks import Erf, mlp
from bayesnn.seeds import seeded_generator
from ensembles import EnsembleRegressor, adam, heteroscedastic, student_t
from ensembles.likelihoods.protocol import RegressionLikelihood
from ensembles.losses import GaussianError, StudentError

number = st.floats(-20, 20)
NOISE = torch.tensor([0.2, 3.0], dtype=torch.float64)


def _loss(nu: float, beta: float = 0.0) -> StudentError:
    return StudentError(noise_std=NOISE, degrees_of_freedom=nu, scale=0.5, bound=6.0, beta=beta)


@settings(deadline=None)
@given(
    nu=st.floats(2.01, 500),
    outputs=st.lists(number, min_size=4, max_size=4),
    y=st.lists(number, min_size=2, max_size=2),
    beta=st.floats(0, 1),
)
def test_loss_is_scipys_negative_log_density(
    nu: float, outputs: list[float], y: list[float], beta: float
) -> None:
    values, targets = (torch.tensor([[one]], dtype=torch.float64) for one in (outputs, y))
    std = NOISE.numpy() * np.exp(3 * np.tanh(0.5 / 6 * np.array(outputs[2:])))
    law = scipy.stats.t(nu, loc=outputs[:2], scale=std * math.sqrt((nu - 2) / nu))
    at_0 = scipy.stats.t(nu, scale=math.sqrt((nu - 2) / nu)).logpdf(0.0)  # constants are left out
    expected = -float((law.logpdf(y) - at_0).sum())
    assert float(_loss(nu, beta)(values, targets)) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(nu=st.floats(2.5, 50), output=st.floats(-5, 5))
def test_noise_variance_is_scipys_averaged_over_members(nu: float, output: float) -> None:
    like = student_t(degrees_of_freedom=nu, scale=0.5)
    values = torch.tensor([[[7.0, output]], [[-1.0, 0.0]]], dtype=torch.float64)
    found = like.noise_variance(values, NOISE[:1])
    stds = [0.2 * math.exp(3 * math.tanh(0.5 / 6 * a)) for a in (output, 0.0)]
    each = [scipy.stats.t(nu, scale=s * math.sqrt((nu - 2) / nu)).var() for s in stds]
    assert found.shape == (1, 1)
    assert float(found) == pytest.approx(sum(each) / 2)
    assert like.function(values)[:, 0, 0].tolist() == [7.0, -1.0]


def test_many_degrees_of_freedom_are_the_gaussian() -> None:
    generator = seeded_generator(0)
    values = torch.randn(3, 5, 4, dtype=torch.float64, generator=generator).requires_grad_()
    targets = torch.randn(3, 5, 2, dtype=torch.float64, generator=generator)
    gaussian = GaussianError(noise_std=NOISE, scale=0.5, bound=6.0, beta=0.5)
    losses = [loss(values, targets) for loss in (_loss(1e9, 0.5), gaussian)]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-5)
    gradients = [torch.autograd.grad(loss.sum(), values)[0] for loss in losses]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_beta_weights_gradients_by_a_power_of_the_variance(beta: float) -> None:
    values = torch.randn(6, 4, dtype=torch.float64, generator=seeded_generator(1)).requires_grad_()
    targets = torch.zeros(6, 2, dtype=torch.float64)
    plain, weighted = (
        torch.autograd.grad(_loss(3.0, power)(values, targets).sum(), values)[0]
        for power in (0.0, beta)
    )
    ratio = (_loss(3.0).log_variance(values.detach()).exp() / NOISE**2) ** beta
    torch.testing.assert_close(weighted, plain * torch.cat((ratio, ratio), dim=-1))


def _with_outliers(n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (n, 1))
    y = np.sin(x[:, 0]) + np.where(x[:, 0] > 0, 0.4, 0.1) * rng.standard_t(3, n)
    y[::20] += 8  # one side only: they pull means away, where they may
    return x, y


def _fitted(likelihood: RegressionLikelihood) -> EnsembleRegressor:
    network = mlp(
        in_features=1, out_features=2, width=32, depth=2, activation=Erf(), weight_std=1.5,
        bias_std=1.0, generator=seeded_generator(1),
    )  # fmt: skip
    return EnsembleRegressor(
        network, likelihood=likelihood, n_members=2, noise_std=1.0, random_state=0,
        trainer=adam(steps=200, batch_size=100),
    ).fit(*_with_outliers())  # fmt: skip


def test_outliers_move_it_less_than_a_gaussian_and_noise_follows_x() -> None:
    at = np.linspace(-1.7, 1.7, 60)[:, None]
    posts = [_fitted(one).posterior(at) for one in (student_t(), heteroscedastic())]
    errors = [np.abs(post.mean.numpy() - np.sin(at[:, 0])).mean() for post in posts]
    assert errors[0] < 0.15
    assert errors[0] < 0.5 * errors[1]
    std = posts[0].noise_variance.sqrt().numpy()
    assert std[at[:, 0] > 0.5].mean() > 1.5 * std[at[:, 0] < -0.5].mean()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"degrees_of_freedom": 2.0}, "degrees_of_freedom: expected a finite number above 2"),
        ({"degrees_of_freedom": math.inf}, "heteroscedastic"),
        ({"degrees_of_freedom": math.nan}, "degrees_of_freedom"),
        ({"scale": 0.0}, "scale"),
        ({"bound": -1.0}, "bound"),
        ({"beta": -0.5}, "beta: expected a finite number of at least 0"),
    ],
)
def test_impossible_settings_are_refused(setting: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        student_t(**setting)
