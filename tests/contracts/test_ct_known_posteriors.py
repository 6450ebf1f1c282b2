"""Agreement of posteriors over images with those that theory knows, on a small scan."""

import dataclasses
import math

import pytest
import torch

from ct.result import Reconstruction
from tests.contracts.ct_posterior_cases import BASE, CASES, Case, solved
from tests.reference.gaussian_scan import DensePixels, Gaussian

known_case = pytest.mark.parametrize(
    "case", [case for case in CASES if case.exact], ids=lambda case: case.name
)


@known_case
def test_the_mean_is_the_known_one(case):
    result = solved(case, BASE, exact=True)
    known = case.exact(BASE, result)
    n, spread = _worth(case, result), _correlation_spread(known)
    squares = ((result.mean - known.mean) / known.std).square().mean()
    assert float(squares) < (1 + 5 * spread) / n + case.slack**2


@known_case
def test_the_standard_deviation_of_each_pixel_is_the_known_one(case):
    result = solved(case, BASE, exact=True)
    known = case.exact(BASE, result)
    n, spread = _worth(case, result), _correlation_spread(known)
    ratio = (result.std / known.std).square()
    # the whole image to 5 standard errors, then each pixel
    assert abs(float(ratio.mean()) - 1) < 5 * spread / math.sqrt(n - 1) + 2 * case.slack
    assert float((ratio - 1).abs().max()) < 5 * math.sqrt(2 / (n - 1)) + 2 * case.slack


@known_case
def test_the_samples_are_jointly_those_of_the_known_posterior(case):
    result = solved(case, BASE, exact=True)
    white = case.exact(BASE, result).whitened(result.samples)
    n, n_pixels = _worth(case, result), white.shape[1]
    covariance = (white - white.mean(0)).T @ (white - white.mean(0)) / (len(white) - 1)
    # the trace of a Wishart matrix over its size, then E‖W − I‖² = p(p + 1)/(n − 1)
    variance = float(covariance.diagonal().mean())
    assert abs(variance - 1) < 5 * math.sqrt(2 / n_pixels / (n - 1)) + 2 * case.slack
    excess = (covariance - torch.eye(n_pixels)).square().sum() * (n - 1)
    assert float(excess) < 1.2 * n_pixels * (n_pixels + 1) + n * n_pixels * (2 * case.slack) ** 2


def _worth(case: Case, result: Reconstruction) -> float:
    assert result.samples is not None
    return case.effective_samples(result) if case.effective_samples else len(result.samples)


def _correlation_spread(known: Gaussian) -> float:
    """Standard deviation of the mean over pixels of squared standard normals, so correlated."""
    std = known.std.flatten()
    correlation = known.covariance / std / std[:, None]
    return math.sqrt(2 * float(correlation.square().sum())) / len(std)


BROKEN = {
    "narrow": DensePixels(n_samples=1000, width=0.9),
    "moved": DensePixels(n_samples=1000, shift=0.2),
    "independent": DensePixels(n_samples=1000, independent=True),
}
LAWS = {
    "mean": test_the_mean_is_the_known_one,
    "std": test_the_standard_deviation_of_each_pixel_is_the_known_one,
    "joint": test_the_samples_are_jointly_those_of_the_known_posterior,
}


@pytest.mark.parametrize(
    ("broken", "law"),
    [("narrow", "std"), ("narrow", "joint"), ("moved", "mean"), ("independent", "joint")],
)
def test_the_comparison_sees_what_is_wrong(broken, law):
    case = dataclasses.replace(CASES[0], exact_method=BROKEN[broken])
    with pytest.raises(AssertionError):
        LAWS[law](case)
