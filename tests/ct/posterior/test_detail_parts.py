"""Where detail may be missing, and along which rays."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ct
from ct.posterior.detail_parts import along_rays, detail_parts
from ct.posterior.missing_detail import HeldOutRays, missing_detail
from ct.posterior.ray_bands import ray_bands
from tests.ct.posterior.drawn_images import disc, normal

GRID = ct.ImageGrid((64, 64), pixel_size=0.5)
SCAN = ct.ParallelBeam([k * math.pi / 60 for k in range(60)], n_detectors=92, detector_spacing=0.5)
A = ct.projector(GRID, SCAN)
BODY = disc(64)
THERE = torch.ones(60, 92, dtype=torch.bool)
PHOTONS = 1e-3 * torch.exp(0.25 * A(BODY))  # variance of rays that are counts


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(1e-8, 1e8), share=st.floats(0.3, 1.0))
def test_a_pixels_share_is_the_mean_over_its_measured_rays(seed, scale, share):
    grid = ct.ImageGrid((5, 6))
    scan = ct.ParallelBeam([k * math.pi / 7 for k in range(7)], n_detectors=9)
    operator = ct.projector(grid, scan)
    generator = torch.Generator().manual_seed(seed)
    variance = torch.rand(7, 9, generator=generator).double() + 0.01
    measured = torch.rand(7, 9, generator=generator) < share
    errors = torch.rand(5, 6, generator=generator).double() + 0.1
    body = torch.rand(5, 6, generator=generator).double()

    parts = detail_parts(errors, body, scale * variance, measured, operator)

    pixels = torch.eye(30, dtype=torch.float64).reshape(30, 5, 6)
    weights = operator(pixels).flatten(1) * measured.flatten()
    path = operator(body)
    through = measured & (path >= 0.1 * path.max())
    s = variance[through].median() if bool(through.any()) else torch.tensor(0.0)
    h = torch.where(measured, variance / (variance + s / 8), 1.0).flatten()
    crossing = weights.sum(1)
    mean = torch.where(crossing > 0, (weights * h).sum(1) / crossing.clamp(min=1e-12), 1.0)
    outside = errors.mean() * (1 - body) * mean.reshape(5, 6)
    assert torch.allclose(parts.variances[2], outside)
    assert torch.allclose(parts.along_rays[2].flatten(), h)
    assert torch.allclose(parts.variances[:2].sum(0), errors.mean() * body)
    assert torch.equal(parts.variances[3], errors)
    assert parts.names == ("body", "rim", "outside", "error")


def test_where_rays_are_alike_the_body_has_no_rim_and_air_lacks_as_much_everywhere():
    parts = detail_parts(
        torch.ones_like(BODY), BODY, torch.full((60, 92), 7.0).double(), THERE, A
    )  # fmt: skip
    assert torch.equal(parts.maps[1], torch.zeros_like(BODY))
    assert torch.allclose(parts.variances[2], 8 / 9 * (1 - BODY))


def test_exact_rays_make_a_rim_and_calm_air():
    parts = detail_parts(torch.ones_like(BODY), BODY, PHOTONS, THERE, A)
    body, rim, outside, _ = parts.variances
    middle, side = (32, 32), (32, int(BODY[32].nonzero()[0]) + 1)
    assert body[middle] > 0.9 > 0.1 > rim[middle]
    assert rim[side] > 0.5 > body[side]
    beside = (32, int(BODY[32].nonzero()[0]) - 4)
    assert outside[0, 0] < 0.7 * outside[beside]


def test_pixels_that_no_ray_crosses_are_taken_for_seen_by_noisy_ones():
    few = ct.ParallelBeam([0.0, math.pi / 2], n_detectors=31)
    grid = ct.ImageGrid((64, 64))
    variance = torch.rand(2, 31, generator=torch.Generator().manual_seed(0)).double() + 0.1
    there = torch.ones(2, 31, dtype=torch.bool)
    parts = detail_parts(
        torch.ones_like(BODY), torch.zeros_like(BODY), variance, there, ct.projector(grid, few)
    )
    assert parts.variances[2, 0, 0] == 1
    assert parts.variances[2, 32, 32] < 1


def test_no_measured_ray_and_no_body_are_no_failure():
    parts = detail_parts(
        torch.ones_like(BODY), torch.zeros_like(BODY), PHOTONS, torch.zeros_like(THERE), A
    )
    assert torch.equal(parts.variances[2], torch.ones_like(BODY))
    ones = torch.ones(60, 92).double()
    assert torch.equal(along_rays(PHOTONS, torch.zeros_like(THERE), A(BODY)), ones)


def test_detail_of_the_air_that_exact_rays_do_not_show_is_found_from_noisy_ones():
    amount = 0.2
    parts = detail_parts(torch.ones_like(BODY), BODY, PHOTONS, THERE, A)
    h = parts.along_rays[2]
    found, plain = [], []
    for seed in range(4):
        detail = amount * A((1 - BODY) * normal(64, 64, seed=seed))
        rays = HeldOutRays(
            residual=h.sqrt() * detail + PHOTONS.sqrt() * normal(60, 92, seed=10 + seed),
            noise_variance=PHOTONS,
            measured=THERE,
            predictable=torch.zeros(2, 60, 92, dtype=torch.float64),
        )
        bands = ray_bands(SCAN, 0.5, BODY.device)
        found.append(
            missing_detail(rays, parts.maps[:3], A, bands, 0.5, along_rays=parts.along_rays[:3])
        )
        plain.append(missing_detail(rays, parts.maps[:3], A, bands, 0.5))
    body, rim, outside = torch.stack([one.detail for one in found]).mean(0).tolist()
    # the projector's interpolation hides some of it
    assert 0.4 * amount**2 < outside < 1.1 * amount**2
    assert body + rim < 0.1 * amount**2
    assert torch.stack([one.detail for one in plain]).mean(0)[2] < 0.7 * outside
