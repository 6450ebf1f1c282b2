"""The comparison with a reference says yes to its samples, at the stated rate, and no to others."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from bayesnn.gp import gp_posterior
from bayesnn.kernels import ntk
from bayesnn.predictive import Predictive
from bayesnn.reference_file import Reference
from bayesnn.seeds import seeded_generator
from ensembles import EnsembleRegressor, compare_members, validate
from ensembles.validation.gaussian_test import _statistics
from tests.ensembles.toy import NOISE, toy_data, toy_network

POINTS = np.linspace(-6, 6, 25)[:, None]


def _reference(noise_std: float = NOISE) -> Reference:
    """The exact NTKGP posterior on the toy; its equality with neural-tangents' has its own test."""
    x, y = (torch.tensor(each) for each in toy_data(5))
    kernel, points = ntk(toy_network(8)), torch.tensor(POINTS)
    post = gp_posterior(kernel, x, y, points, noise_std=noise_std)
    assert post.covariance is not None
    return Reference(
        distribution="ntkgp", network={}, noise_std=noise_std, time=math.inf, x=x,
        y=y.unsqueeze(1), x_test=points, mean=post.mean.unsqueeze(1), covariance=post.covariance,
        prior_variance=kernel.diagonal(points), computed_by="tests",
    )  # fmt: skip


def _samples(reference: Reference, n: int, seed: int) -> Tensor:
    values, vectors = torch.linalg.eigh(reference.covariance)
    half = vectors * values.clamp(min=0.0).sqrt()
    draws = torch.randn(n, len(values), dtype=torch.float64, generator=seeded_generator(seed))
    return reference.mean.squeeze(1) + draws @ half.T


def test_the_statistic_is_the_likelihood_ratio() -> None:
    """Both parts add up to 2·(log density under the fitted Gaussian − under N(0, I))."""
    white = 1.3 * torch.randn(15, 3, dtype=torch.float64, generator=seeded_generator(2)) + 0.2
    mean = white.mean(0)
    fitted = MultivariateNormal(mean, (white - mean).T @ (white - mean) / 15)
    standard = MultivariateNormal(torch.zeros_like(mean), torch.eye(3, dtype=torch.float64))
    ratio = 2 * (fitted.log_prob(white) - standard.log_prob(white)).sum()
    parts = _statistics(white.unsqueeze(0))[0]
    torch.testing.assert_close(parts.sum(), ratio)
    torch.testing.assert_close(parts[0], 15 * mean.square().sum())


def test_false_alarms_come_at_the_stated_rate() -> None:
    """Of 400 comparisons at level 0.1, 40 ± 6 are false alarms; four standard errors bound them."""
    reference = _reference()
    found = [compare_members(_samples(reference, 30, seed), reference) for seed in range(400)]
    for name in ("p_value", "p_mean", "p_covariance"):
        alarms = sum(getattr(each.test, name) < 0.1 for each in found)
        assert abs(alarms - 40) < 4 * 6, name
    assert sum(each.accepts(0.1) for each in found) == sum(each.p_value >= 0.1 for each in found)


def test_errors_of_exact_samples_are_what_the_report_says() -> None:
    reference = _reference()
    found = [compare_members(_samples(reference, 40, seed), reference) for seed in range(200)]
    parts = [each.all_points for each in found]
    mean_errors = np.array([part.mean_error for part in parts])
    assert mean_errors.mean() == pytest.approx(parts[0].mean_error_floor, rel=0.1)
    ratios = np.array([part.std_ratio for part in parts])
    assert ratios.mean() == pytest.approx(1.0, abs=0.02)
    assert ratios.std() == pytest.approx(parts[0].std_ratio_error, rel=0.2)
    errors = np.array([each.covariance_error for each in found])
    assert math.sqrt((errors**2).mean()) == pytest.approx(found[0].covariance_error_floor, rel=0.15)


def test_near_and_far_points_are_told_apart_by_the_prior() -> None:
    """Errors of either part are those of its points alone; the prior says which are which."""
    reference = _reference()
    samples, std = _samples(reference, 40, 0), reference.covariance.diagonal().sqrt()
    is_near = std**2 < 0.02 * reference.prior_variance
    assert 5 < int(is_near.sum()) < 20
    moved = samples + torch.where(is_near, 10.0, 0.0) * std
    before, after = (compare_members(values, reference) for values in (samples, moved))
    assert after.curves.near == tuple(is_near.tolist())
    assert after.near is not None
    assert after.near.n_points == int(is_near.sum())
    assert after.near.mean_error == pytest.approx(10, abs=1)
    assert after.far == before.far
    unsure = replace(reference, prior_variance=reference.covariance.diagonal())
    assert compare_members(samples, unsure).near is None
    sure = replace(reference, prior_variance=100 * reference.covariance.diagonal())
    assert compare_members(samples, sure).far is None


def test_a_posterior_is_as_good_as_a_file() -> None:
    reference = _reference()
    kernel, samples = ntk(toy_network(8)), _samples(reference, 40, 0)
    points = reference.x_test
    post = gp_posterior(kernel, reference.x, reference.y, points, noise_std=NOISE)
    from_file = compare_members(samples, reference)
    given = compare_members(samples, post, points, prior_variance=kernel.diagonal(points))
    for part in ("all_points", "near", "far", "test", "covariance_error"):
        assert getattr(given, part) == getattr(from_file, part), part
    assert given.curves.x == from_file.curves.x == tuple(POINTS[:, 0].tolist())
    assert from_file.curves.data is not None
    assert given.curves.data is None
    alone = compare_members(samples, post, points)
    assert alone.near is alone.far is alone.curves.near is None
    assert alone.test == given.test


def test_what_does_not_fit_is_refused() -> None:
    reference = _reference()
    samples, points = _samples(reference, 8, 0), reference.x_test
    post = gp_posterior(ntk(toy_network(8)), reference.x, reference.y, points, noise_std=NOISE)
    two = replace(reference, y=reference.y.expand(-1, 2), mean=reference.mean.expand(-1, 2))
    certain = replace(reference, covariance=torch.zeros_like(reference.covariance))
    bare = Predictive(mean=post.mean, epistemic_variance=post.epistemic_variance, noise_variance=0)
    for values, given, where, said in (
        (samples[:5], reference, None, "at least 6 members"),
        (samples[:, :7], reference, None, "values at 25 points"),
        (samples * torch.nan, reference, None, "members"),
        (samples, reference, points, "x_test: expected None"),
        (samples, post, None, "x_test: expected the points"),
        (samples, post, points[:3], "x_test: expected 25 rows"),
        (samples, bare, points, "covariance=True"),
        (samples, two, None, "expected one output"),
        (samples, certain, None, "variance is 0"),
    ):
        with pytest.raises(ValueError, match=said):
            compare_members(values, given, where)
    with pytest.raises(ValueError, match="prior_variance: expected 25 rows"):
        compare_members(samples, reference, prior_variance=[1.0])
    one = EnsembleRegressor(toy_network(8), n_members=2, noise_std=1.0, random_state=0)
    one.fit(reference.x.numpy(), reference.y[:, 0].numpy())
    with pytest.raises(ValueError, match="at least 6 members"):
        validate(one, reference)
    with pytest.raises(ValueError, match="level"):
        compare_members(samples, reference).accepts(0.0)


def test_others_are_told_apart() -> None:
    """Too narrow, too wide, off in the mean; and members that never saw the noise they assume."""
    reference = _reference()
    samples, mean = _samples(reference, 60, 0), reference.mean.squeeze(1)
    std = reference.covariance.diagonal().sqrt()
    assert compare_members(samples, reference).accepts()
    for wrong in (mean + 0.6 * (samples - mean), mean + 1.5 * (samples - mean), samples + std):
        assert not compare_members(wrong, reference).accepts()
    assert not compare_members(samples, _reference(noise_std=0.3)).accepts()
    # without target noise a member's covariance lacks G σ² Gᵀ
    x, points = reference.x, reference.x_test
    kernel = ntk(toy_network(8))
    gram = kernel(x) + NOISE**2 * torch.eye(len(x), dtype=torch.float64)
    gain = torch.linalg.solve(gram, kernel(x, points)).T
    lacking = reference.covariance - NOISE**2 * gain @ gain.T
    values, vectors = torch.linalg.eigh(lacking)
    draws = torch.randn(60, 25, dtype=torch.float64, generator=seeded_generator(1))
    unperturbed = mean + draws @ (vectors * values.clamp(min=0.0).sqrt()).T
    assert not compare_members(unperturbed, reference).accepts()
