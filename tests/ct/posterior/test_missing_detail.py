"""What rays that were held out tell of errors beyond those of a scan whose truth is known."""

import math

import pytest
import torch

import ct
from ct.half_width import LEVELS
from ct.posterior.held_out_coverage import held_out_coverage
from ct.posterior.missing_detail import HeldOutRays, missing_detail
from ct.posterior.ray_bands import ray_bands
from tests.ct.posterior.drawn_images import disc, normal


@pytest.fixture(scope="module")
def scene() -> tuple[ct.ParallelBeam, object, torch.Tensor]:
    grid = ct.ImageGrid((64, 64), pixel_size=0.5)
    scan = ct.ParallelBeam(
        [k * math.pi / 60 for k in range(60)], n_detectors=92, detector_spacing=0.5
    )
    return scan, ct.projector(grid, scan), disc(64)


def _smooth_noise(n: int, *, decay: float, seed: int) -> torch.Tensor:
    k = torch.hypot(torch.fft.fftfreq(n)[:, None], torch.fft.rfftfreq(n)).double()
    response = torch.exp(-k / (2 * decay))
    noise = torch.fft.irfft2(torch.fft.rfft2(normal(n, n, seed=seed)) * response, s=(n, n))
    return noise / noise.std()


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_held_out_rays_tell_how_much_detail_is_missing(scene, missing):
    scan, A, body = scene
    noise_std = 0.3
    found = []
    for seed in range(4):
        known = 0.3 * (body - torch.roll(body, 1, 0)) * normal(64, 64, seed=seed)
        like = 0.3 * (body - torch.roll(body, 1, 0)) * normal(64, 64, seed=10 + seed)
        detail = missing * body * _smooth_noise(64, decay=0.07, seed=20 + seed)
        rays = HeldOutRays(
            residual=A(known + detail) + noise_std * normal(60, 92, seed=30 + seed),
            noise_variance=torch.full((60, 92), noise_std**2).double(),
            measured=torch.ones(60, 92, dtype=torch.bool),
            predictable=A(like).expand(2, 60, 92),
        )
        parts = torch.stack([body, 1 - body])
        beyond = missing_detail(rays, parts, A, ray_bands(scan, 0.5, body.device), 0.5)
        found.append(beyond.detail)
    inside, outside = torch.stack(found).mean(0).tolist()
    # the projector's interpolation hides some of it, and edges take some for theirs
    assert 0.5 * missing**2 <= inside <= 1.2 * missing**2 + 0.003
    assert outside < 0.01


def test_what_chance_alone_would_show_of_detail_is_none(scene):
    scan, A, body = scene
    parts, bands = torch.stack([body, 1 - body]), ray_bands(scan, 0.5, body.device)

    def shown(detail_std: float, seed: int) -> bool:
        detail = detail_std * body * _smooth_noise(64, decay=0.07, seed=seed)
        rays = HeldOutRays(
            residual=A(detail) + 0.3 * normal(60, 92, seed=100 + seed),
            noise_variance=torch.full((60, 92), 0.09, dtype=torch.float64),
            measured=torch.ones(60, 92, dtype=torch.bool),
            predictable=torch.zeros(2, 60, 92, dtype=torch.float64),
        )
        return float(missing_detail(rays, parts, A, bands, 0.5).detail.sum()) > 0

    assert sum(shown(0.0, seed) for seed in range(8)) == 0
    assert sum(shown(0.05, seed) for seed in range(4)) == 4  # a sixth of a ray's noise


def test_rays_that_were_not_measured_tell_nothing(scene):
    scan, A, body = scene
    detail = 0.2 * body * _smooth_noise(64, decay=0.07, seed=0)
    residual = A(detail) + 0.3 * normal(60, 92, seed=1)
    variance = torch.full((60, 92), 0.09).double()
    measured = torch.ones(60, 92, dtype=torch.bool)
    measured[::3, 30:50] = False
    parts = torch.stack([body, 1 - body])

    def amount(given: torch.Tensor, measured: torch.Tensor) -> torch.Tensor:
        rays = HeldOutRays(
            residual=torch.where(measured, given, 0.0),
            noise_variance=torch.where(measured, variance, 0.0),
            measured=measured,
            predictable=torch.zeros(2, 60, 92, dtype=torch.float64),
        )
        return missing_detail(rays, parts, A, ray_bands(scan, 0.5, body.device), 0.5).detail

    everything = amount(residual, torch.ones_like(measured))
    some = amount(residual, measured)
    assert float(some[0]) == pytest.approx(float(everything[0]), rel=0.3)
    assert torch.equal(some, amount(torch.where(measured, residual, 1e6), measured))


@pytest.mark.parametrize("factor", [0.3, 1.0, 3.0])
def test_intervals_of_held_out_rays_cover_what_they_claim_whatever_the_spread(scene, factor):
    _, A, body = scene
    like = A(0.4 * body * _smooth_noise(64, decay=0.05, seed=0))
    error = A(factor * 0.4 * body * _smooth_noise(64, decay=0.05, seed=1))
    rays = HeldOutRays(
        residual=error + 0.5 * normal(60, 92, seed=2),
        noise_variance=torch.full((60, 92), 0.25).double(),
        measured=torch.ones(60, 92, dtype=torch.bool),
        predictable=like.expand(2, 60, 92),
    )
    covered = held_out_coverage(rays, body, A, torch.arange(60) % 10, LEVELS)
    for level in (0.5, 0.9, 0.95):
        assert covered[level] == pytest.approx(level, abs=0.04)
    assert held_out_coverage(rays, body, A, torch.zeros(60, dtype=torch.int64), LEVELS) == {}


def test_views_that_were_not_measured_tell_of_no_detail(scene):
    scan, A, body = scene
    residual = A(0.2 * body * _smooth_noise(64, decay=0.07, seed=0)) + 0.3 * normal(60, 92, seed=1)
    some = torch.arange(60) % 3 == 0

    def amount(there: torch.Tensor, residual: torch.Tensor, scan: ct.ParallelBeam) -> float:
        rays = HeldOutRays(
            residual=torch.where(there, residual, 0.0),
            noise_variance=torch.where(there, 0.09, 0.0).double(),
            measured=there,
            predictable=torch.zeros(2, *there.shape, dtype=torch.float64),
        )
        operator = ct.projector(ct.ImageGrid((64, 64), pixel_size=0.5), scan)
        parts, bands = torch.stack([body, 1 - body]), ray_bands(scan, 0.5, body.device)
        return float(missing_detail(rays, parts, operator, bands, 0.5).detail[0])

    alone = ct.ParallelBeam(scan.angles[::3], n_detectors=92, detector_spacing=0.5)
    expected = amount(torch.ones(20, 92, dtype=torch.bool), residual[some], alone)
    assert amount(some[:, None].expand(60, 92), residual, scan) == pytest.approx(expected, rel=0.02)


def test_errors_that_the_known_scan_shares_do_not_pass_for_detail(scene):
    scan, A, body = scene
    fine, like = (_smooth_noise(64, decay=0.3, seed=k) for k in (0, 2))
    # half of the views have errors, so that those of others do not stand for them
    half = (torch.arange(60) < 30)[:, None]

    def found(known: torch.Tensor) -> float:
        rays = HeldOutRays(
            residual=half * A(body * fine) + normal(60, 92, seed=3),
            noise_variance=torch.ones(60, 92, dtype=torch.float64),
            measured=torch.ones(60, 92, dtype=torch.bool),
            predictable=known.expand(2, 60, 92),
        )
        parts = torch.stack([body, 1 - body])
        beyond = missing_detail(rays, parts, A, ray_bands(scan, 0.5, body.device), 0.5)
        return float(beyond.detail[0])

    # what is left is by how much one drawn image differs from another
    assert found(half * A(body * like)) < 0.25 * found(torch.zeros(60, 92).double())


def test_what_edges_lack_does_not_pass_for_detail_of_the_air_beside_them(scene):
    scan, A, body = scene
    # edges that are blurred over the air, where held-out rays are to find nothing else
    edges = (body - torch.roll(body, 1, 1)).abs() + (body - torch.roll(body, 2, 0)).abs()
    lacking = edges * _smooth_noise(64, decay=0.3, seed=0)
    rays = HeldOutRays(
        residual=A(lacking) + 0.3 * normal(60, 92, seed=3),
        noise_variance=torch.full((60, 92), 0.09).double(),
        measured=torch.ones(60, 92, dtype=torch.bool),
        predictable=torch.zeros(2, 60, 92, dtype=torch.float64),
    )

    def found(*parts: torch.Tensor) -> list[float]:
        bands = ray_bands(scan, 0.5, body.device)
        return missing_detail(rays, torch.stack(parts), A, bands, 0.5).detail.tolist()

    without, outside = found(body, 1 - body)
    inside, beside, own = found(body, 1 - body, edges.square())
    assert outside > 0.01
    assert beside < 0.2 * outside
    assert inside < 0.1 * without
    # the projector's interpolation hides some of it
    assert 0.4 < own < 1.2


def test_scans_of_so_few_bins_that_bands_are_empty_tell_of_detail_too():
    grid = ct.ImageGrid((4, 4))
    scan = ct.ParallelBeam([k * math.pi / 90 for k in range(90)], n_detectors=6)
    A, there = ct.projector(grid, scan), torch.ones(90, 6, dtype=torch.bool)
    rays = HeldOutRays(
        residual=A(normal(4, 4, seed=1)),
        noise_variance=torch.full((90, 6), 1e-4).double(),
        measured=there,
        predictable=torch.zeros(2, 90, 6, dtype=torch.float64),
    )
    parts, bands = torch.ones(1, 4, 4, dtype=torch.float64), ray_bands(scan, 1.0, there.device)
    assert min(bands.gain(band) for band in range(len(bands.responses))) == 0
    assert 0.1 < float(missing_detail(rays, parts, A, bands, 1.0).detail) < 2


@pytest.mark.parametrize("larger", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("shared", [False, True])
def test_known_errors_are_scaled_where_no_detail_is_missing(scene, larger, shared):
    scan, A, body = scene
    error = A((body - torch.roll(body, 1, 0)) * normal(64, 64, seed=0))
    noise = 0.3 * normal(60, 92, seed=3)
    if shared:  # by neighbouring bins, so that low frequencies have more than they are said to
        noise = noise + torch.roll(noise, 1, 1)
    rays = HeldOutRays(
        residual=larger * error + noise,
        noise_variance=torch.full((60, 92), 0.09, dtype=torch.float64),
        measured=torch.ones(60, 92, dtype=torch.bool),
        predictable=torch.stack([error, error]),
    )
    parts = torch.stack([body, 1 - body])
    beyond = missing_detail(rays, parts, A, ray_bands(scan, 0.5, body.device), 0.5)
    assert beyond.scale == pytest.approx(larger**2, rel=0.25)
    assert beyond.scale >= 1
    if not shared:
        assert beyond.detail.tolist() == [0, 0]


def test_errors_that_chance_alone_would_enlarge_are_not_scaled(scene):
    scan, A, body = scene
    error = 0.1 * A((body - torch.roll(body, 1, 0)) * normal(64, 64, seed=0))
    parts, bands = torch.stack([body, 1 - body]), ray_bands(scan, 0.5, body.device)

    def scale(seed: int) -> float:
        rays = HeldOutRays(
            residual=error + 0.3 * normal(60, 92, seed=seed),
            noise_variance=torch.full((60, 92), 0.09, dtype=torch.float64),
            measured=torch.ones(60, 92, dtype=torch.bool),
            predictable=torch.stack([error, error]),
        )
        return missing_detail(rays, parts, A, bands, 0.5).scale

    assert [scale(seed) for seed in range(10, 18)] == [1.0] * 8


def test_noise_that_is_larger_than_said_does_not_pass_for_larger_errors(scene):
    scan, A, body = scene
    spot = 3 * torch.zeros(64, 64, dtype=torch.float64).index_fill(0, torch.arange(20, 26), 1.0)
    spot[:, :33], spot[:, 39:] = 0, 0
    error = A(spot * normal(64, 64, seed=0))
    rays = HeldOutRays(
        residual=error + 0.9 * normal(60, 92, seed=3),
        noise_variance=torch.full((60, 92), 0.09, dtype=torch.float64),
        measured=torch.ones(60, 92, dtype=torch.bool),
        predictable=torch.stack([error, error]),
    )
    parts = torch.stack([body, 1 - body])
    # from all rays it would be more than 4: most rays have no error to speak of
    assert missing_detail(rays, parts, A, ray_bands(scan, 0.5, body.device), 0.5).scale < 1.3
