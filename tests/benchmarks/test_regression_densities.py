import math

import numpy as np
import torch
from scipy import stats

from bayesnn import Predictive
from benchmarks.regression.densities import by_heavy_tails, by_mixture, by_moments

DRAW = np.random.default_rng(1)
Y = torch.tensor(DRAW.normal(size=6))
MEAN = torch.tensor(DRAW.normal(size=6))
VARIANCE = torch.tensor(DRAW.uniform(0.1, 2.0, size=6))


def _exact() -> Predictive:
    return Predictive(mean=MEAN, epistemic_variance=VARIANCE, noise_variance=0.5)


def test_moments_are_the_gaussian_closed_form():
    variance = VARIANCE + 0.5
    expected = -0.5 * ((Y - MEAN) ** 2 / variance + (2 * math.pi * variance).log())
    torch.testing.assert_close(by_moments(_exact(), Y), expected)


def test_heavy_tails_are_scipys_t_of_the_same_variance():
    scale = ((VARIANCE + 0.5) * 3 / 5).sqrt().numpy()
    law = stats.t(5, loc=MEAN.numpy(), scale=scale)
    np.testing.assert_allclose(law.var(), VARIANCE + 0.5)
    np.testing.assert_allclose(by_heavy_tails(_exact(), Y), law.logpdf(Y.numpy()))


def test_the_mixture_is_the_mean_density_of_members():
    members = torch.tensor(DRAW.normal(size=(4, 6)))
    post = Predictive.from_members(members, VARIANCE, keep_members=True)
    naive = np.mean(
        [stats.norm.pdf(Y.numpy(), m.numpy(), VARIANCE.sqrt().numpy()) for m in members], axis=0
    )
    np.testing.assert_allclose(by_mixture(post, Y), np.log(naive))
    assert by_mixture(_exact(), Y) is None
