"""Scales of the infinitely wide network's prior: level, noise, and what chooses them."""

import dataclasses
import math

import numpy as np
import pytest
import torch

import ct
from ct.posterior.infinite_width_likelihood import ScanSpectrum, scan_spectrum
from ct.posterior.infinite_width_network import InfiniteNetwork
from ct.problem import Problem

GRID = ct.ImageGrid((12, 12), pixel_size=0.5)


def _problem(scan: ct.ParallelBeam | ct.FanBeam, *, image: float = 0.0, noise: float = 0.2):
    operator = ct.projector(GRID, scan)
    clean = operator(torch.full(GRID.shape, image, dtype=torch.float64))
    draw = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)).double()
    return Problem(
        sinogram=clean + noise * draw, noise_std=torch.full_like(clean, noise),
        projector=operator, grid=GRID, scan=scan, keep_samples=True,
    )  # fmt: skip


PARALLEL = ct.ParallelBeam([k * math.pi / 10 for k in range(10)], 16, 0.5)


def test_a_level_that_the_network_has_varies_as_its_output_far_away_does():
    method = ct.infinite_width(amplitude=0.3, frequency_std=3.0, unknown_level=False)
    prior = method.prior(_problem(PARALLEL))
    network = InfiniteNetwork(**{
        name: getattr(method.network, name) for name in ("kernel", "depth", "activation")
    })
    assert prior.level_std == pytest.approx(0.3 * network.constant**0.5)
    unknown = dataclasses.replace(method, unknown_level=True)
    assert math.isinf(unknown.prior(_problem(PARALLEL)).level_std)


def test_the_noises_factor_is_that_of_the_measurements():
    method = ct.infinite_width(amplitude=0.3, frequency_std=3.0, tolerance=1e-6)
    problem = _problem(PARALLEL, image=2.0)
    prior = method.prior(problem)
    louder = dataclasses.replace(prior, scales=dataclasses.replace(prior.scales, noise_factor=3.0))
    asked = method.posterior(problem, louder).mean
    given = dataclasses.replace(problem, noise_std=3 * problem.noise_std)
    assert torch.allclose(asked, method.posterior(given, prior).mean, rtol=1e-4)
    assert not torch.allclose(asked, method.posterior(problem, prior).mean, rtol=1e-2)


def test_samples_are_around_the_mean_and_have_the_standard_deviation():
    method = ct.infinite_width(amplitude=0.3, frequency_std=3.0, n_samples=5)
    estimate = method.solve(_problem(PARALLEL), seed=0)
    assert estimate.samples is not None
    assert torch.allclose(estimate.samples.mean(0), estimate.mean)
    assert torch.allclose(estimate.samples.std(0), estimate.std)


@pytest.mark.parametrize("n", [15, 16])
def test_the_spectrum_of_noise_is_one_and_its_coefficients_as_many_as_there_are_bins(n):
    # a view's mean goes with the level; rays so long that two views share no other frequency
    scan = ct.ParallelBeam([0.0, 1.0], n, 0.01)
    found = scan_spectrum(_problem(scan))
    assert float(found.weight.sum()) == pytest.approx(2 * (n - 1))
    many = ct.ParallelBeam([k * math.pi / 200 for k in range(200)], n, 0.5)
    found = scan_spectrum(_problem(many))
    assert found.power.tolist() == pytest.approx([1.0] * (n // 2), abs=0.3)
    # n views tell of π · length · frequency directions
    lengths = ct.projector(GRID, many)(torch.ones(GRID.shape, dtype=torch.float64))
    frequency = found.angular / (2 * math.pi * 3.0)
    expected = 2 * math.pi * float(lengths[lengths > 0].mean()) * frequency
    assert torch.allclose(found.weight[:6], expected[:6])


def test_a_fans_rays_are_as_far_apart_as_at_the_axis():
    fan = ct.FanBeam([0.5 * k for k in range(12)], 16, 3000.0, 4500.0, detector_spacing=0.75)
    parallel = ct.ParallelBeam([0.5 * k for k in range(12)], 16, 0.5)
    ours, theirs = (scan_spectrum(_problem(scan)) for scan in (fan, parallel))
    assert ours.gain == pytest.approx(theirs.gain, rel=0.01)
    assert torch.allclose(ours.angular, theirs.angular)


def test_the_likelihood_is_a_gaussians():
    data = ScanSpectrum(
        power=torch.tensor([3.0, 1.5]).double(),
        gain=2.0,
        angular=torch.tensor([4.0, 8.0]).double(),
        weight=torch.tensor([1.0, 2.0]).double(),
        unit_std=1.0,
    )
    found = data.log_likelihood(
        lambda omega: np.exp(-omega), prior_std=1.5, frequency_std=4.0, noise_factor=0.7
    )
    expected = 0.0
    for power, omega, weight in ((3.0, 1.0, 1.0), (1.5, 2.0, 2.0)):
        variance = (1.5 / 4.0) ** 2 * 2.0 * math.exp(-omega) + 0.7**2
        expected -= weight / 2 * (power / variance + math.log(variance))
    assert found == pytest.approx(expected)
