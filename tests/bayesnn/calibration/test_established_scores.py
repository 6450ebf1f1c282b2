"""Scores beside those of scoringrules and torchmetrics, on random inputs."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import scoringrules
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    binary_calibration_error,
    multiclass_calibration_error,
)

from bayesnn import calibration

close = partial(pytest.approx, rel=1e-6, abs=1e-6)
seeds = st.integers(0, 10_000)


def forecasts(seed: int, n: int, m: int) -> tuple[NDArray, NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=n), rng.normal(size=(m, n)), rng.uniform(0.2, 3, (m, n))


@given(seed=seeds, n=st.integers(1, 10))
def test_gaussians(seed: int, n: int) -> None:
    y, (mean,), (std,) = forecasts(seed, n, 1)
    want = scoringrules.crps_normal(y, mean, std, backend="numpy").mean()
    assert float(calibration.crps_gaussian(y, mean, std)) == close(want)
    want = scoringrules.logs_normal(y, mean, std, backend="numpy").mean()
    assert float(calibration.nll_gaussian(y, mean, std)) == close(want)


@given(seed=seeds, n=st.integers(1, 10), m=st.integers(1, 8))
def test_gaussian_mixtures(seed: int, n: int, m: int) -> None:
    y, means, stds = forecasts(seed, n, m)
    weights = np.random.default_rng(seed).dirichlet(np.ones(m))
    rows = np.broadcast_to(weights[:, None], (m, n)).T
    peers = (scoringrules.crps_mixnorm, scoringrules.logs_mixnorm)
    ours = (calibration.crps_gaussian_mixture, calibration.nll_gaussian_mixture)
    for score, peer in zip(ours, peers, strict=True):
        want = peer(y, means.T, stds.T, rows, backend="numpy").mean()
        assert float(score(y, means, stds, weights)) == close(want)


@given(seed=seeds, n=st.integers(1, 10), m=st.integers(2, 12), digits=st.sampled_from([0, 12]))
def test_samples(seed: int, n: int, m: int, digits: int) -> None:
    y, samples, _ = (a.round(digits) for a in forecasts(seed, n, m))
    for kind, score in (("nrg", calibration.crps_samples), ("fair", calibration.fair_crps_samples)):
        want = scoringrules.crps_ensemble(y, samples.T, estimator=kind, backend="numpy").mean()
        assert float(score(y, samples)) == close(want)


@given(seed=seeds, n=st.integers(1, 10), m=st.integers(5, 30))
def test_densities_of_samples(seed: int, n: int, m: int) -> None:
    _, samples, stds = forecasts(seed, n, m)
    y = samples[0] + 0.1  # their density underflows far from all samples
    for width in (None, stds[0]):
        want = scoringrules.logs_ensemble(y, samples.T, bw=width, backend="numpy").mean()
        assert float(calibration.nll_samples(y, samples, bandwidth=width)) == close(want)


@given(seed=seeds, n=st.integers(1, 10), level=st.floats(0.01, 0.99))
def test_intervals(seed: int, n: int, level: float) -> None:
    y, (lower,), (width,) = forecasts(seed, n, 1)
    want = scoringrules.interval_score(y, lower, lower + width, 1 - level, backend="numpy").mean()
    got = calibration.interval_score((lower, lower + width), y, level=level)
    assert float(got) == close(want)


@given(seed=seeds, n=st.integers(1, 6), m=st.integers(2, 8), outputs=st.integers(1, 4))
def test_vectors(seed: int, n: int, m: int, outputs: int) -> None:
    rng = np.random.default_rng(seed)
    y, samples = rng.normal(size=(n, outputs)), rng.normal(size=(m, n, outputs))
    pairs = (("nrg", calibration.energy_score), ("fair", calibration.fair_energy_score))
    for kind, score in pairs:
        want = scoringrules.es_ensemble(
            y, samples.swapaxes(0, 1), estimator=kind, backend="numpy"
        ).mean()
        assert float(score(y, samples)) == close(want)


@given(seed=seeds, n=st.integers(2, 60), classes=st.integers(2, 6), n_bins=st.integers(1, 20))
def test_calibration_errors(seed: int, n: int, classes: int, n_bins: int) -> None:
    rng = np.random.default_rng(seed)
    p, y = (
        torch.tensor(rng.dirichlet(np.ones(classes), n)),
        torch.tensor(rng.integers(0, classes, n)),
    )
    want = multiclass_calibration_error(p, y, num_classes=classes, n_bins=n_bins, norm="l1")
    assert float(calibration.top_label_calibration_error(y, p, n_bins=n_bins)) == close(float(want))


@given(seed=seeds, n=st.integers(2, 60), classes=st.integers(2, 6), n_bins=st.integers(1, 20))
def test_calibration_errors_class_by_class(seed: int, n: int, classes: int, n_bins: int) -> None:
    rng = np.random.default_rng(seed)
    p, y = torch.tensor(rng.dirichlet(np.ones(classes), n)), rng.integers(0, classes, n)
    want = [
        float(binary_calibration_error(p[:, k].clone(), torch.tensor(y == k), n_bins, "l1"))
        for k in range(classes)
    ]
    got = float(calibration.classwise_calibration_error(y, p, n_bins=n_bins))
    assert got == close(float(np.mean(want)))


@given(seed=seeds, n=st.integers(20, 60), n_bins=st.integers(1, 6))
def test_calibration_errors_in_bins_of_equal_mass(seed: int, n: int, n_bins: int) -> None:
    """Theirs with the edges of ours: halfway between the points on either side."""
    from torchmetrics.functional.classification.calibration_error import _ce_compute

    rng = np.random.default_rng(seed)
    p, y = torch.tensor(rng.dirichlet(np.ones(3), n)), torch.tensor(rng.integers(0, 3, n))
    confidence, predicted = p.max(1)
    parts = np.array_split(np.sort(confidence.numpy()), n_bins)
    between = [(a[-1] + b[0]) / 2 for a, b in pairwise(parts)]
    edges = torch.tensor([0.0, *between, 1.0], dtype=torch.float64)
    theirs = partial(_ce_compute, confidence, predicted == y, edges)
    got = float(calibration.adaptive_calibration_error(y, p, n_bins=n_bins))
    assert got == close(float(theirs(norm="l1")))
    got = float(calibration.debiased_calibration_error(y, p, n_bins=n_bins))
    assert got == close(float(theirs(norm="l2", debias=True)))


@given(seed=seeds, n_in=st.integers(1, 40), n_out=st.integers(1, 40))
def test_points_from_outside(seed: int, n_in: int, n_out: int) -> None:
    rng = np.random.default_rng(seed)
    inside, outside = rng.uniform(size=n_in).round(1), rng.uniform(size=n_out).round(1)
    both = torch.tensor(np.concatenate([inside, outside]))
    label = torch.tensor([0] * n_in + [1] * n_out)
    assert float(calibration.ood_auroc(inside, outside)) == close(float(binary_auroc(both, label)))
    want = float(binary_average_precision(both, label))
    assert float(calibration.ood_aupr_out(inside, outside)) == close(want)
    want = float(binary_average_precision(1 - both, 1 - label))
    assert float(calibration.ood_aupr_in(inside, outside)) == close(want)
