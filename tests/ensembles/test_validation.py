"""The comparison with a reference says yes to its samples, at the stated rate, and no to others."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bayesnn.gp import gp_posterior
from bayesnn.kernels import ntk
from bayesnn.reference_file import Reference
from bayesnn.seeds import seeded_generator
from ensembles import (
    EnsembleRegressor,
    compare_members,
    deep_ensemble,
    ntkgp_param,
    validate,
)
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
    first = found[0]
    assert first.near is not None
    assert first.far is not None
    assert first.near.n_points + first.far.n_points == 25


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


def test_trained_ensembles_are_compared(tmp_path: Path) -> None:
    x, y = toy_data(5)
    reference = _reference()
    reports = {}
    for method in (ntkgp_param(), deep_ensemble()):
        model = EnsembleRegressor(
            toy_network(128), method=method, n_members=24, noise_std=NOISE, random_state=0
        )
        reports[method.name] = validate(model.fit(x.astype(np.float32), y), reference)
    ours, deep = reports["ntkgp_param"], reports["deep_ensemble"]
    assert 0.7 < ours.all_points.std_ratio < 1.3
    assert deep.all_points.std_ratio < 0.7 * ours.all_points.std_ratio
    assert not deep.accepts()
    table = str(ours)
    assert "near data" in table
    assert f"{ours.all_points.std_ratio:.3f}" in table
    ours.save(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(ours.to_json())
    with pytest.raises(ValueError, match="at least 6 members"):
        validate(EnsembleRegressor(toy_network(8), n_members=2).fit(x, y), reference)
