"""Whatever is wrong with a scan is noticed and named; a scan that fits raises no alarm."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import ct
from bayesnn.seeds import seeded_generator
from ct.data.simulated_scans import parallel_scan
from ct.geometry import Scan, with_angles
from tests.ct.diagnosis.polychromatic import hardened
from tests.reference.ellipses import Ellipse, line_integrals, random_ellipses, with_noise

N = 240
GRID = ct.ImageGrid((N, N))
VIEWS = [(20, 0.5), (60, 0.5), (180, 0.5), (60, 1.0), (61, 1.0)]
SEEDS = st.integers(0, 10**6)
SHARES = st.sampled_from(VIEWS)


def parallel(n_views: int, share: float, center: float | None = None) -> ct.ParallelBeam:
    angles = [share * 2 * math.pi * k / n_views for k in range(n_views)]
    return ct.ParallelBeam(angles, N, center=center)


def fan(n_views: int, share: float, center: float | None = None) -> ct.FanBeam:
    angles = [share * 2 * math.pi * k / n_views for k in range(n_views)]
    return ct.FanBeam(angles, N, 400.0, 800.0, 2.0, center=center)


def measured(
    scan: Scan, seed: int, *, radius: float = 95, snr_db: float = 40
) -> tuple[Tensor, float]:
    clean = 0.01 * line_integrals(random_ellipses(seed, radius=radius), scan)
    return with_noise(clean, snr_db=snr_db, seed=seed)


def names(sinogram: Tensor, std: float, scan: Scan, grid: ct.ImageGrid = GRID) -> list[str]:
    found = ct.mismatch(sinogram, None, torch.tensor(std), scan, grid)
    return [finding.name for finding in found.findings]


@settings(max_examples=15)
@given(
    seed=SEEDS, views=SHARES, center=st.floats(112, 127), snr_db=st.sampled_from([25.0, 32.0, 40.0])
)
def test_a_scan_that_fits_raises_no_alarm(
    seed: int, views: tuple[int, float], center: float, snr_db: float
) -> None:
    scan = parallel(*views, center=center)
    assert names(*measured(scan, seed, snr_db=snr_db), scan) == []


@pytest.mark.slow
def test_false_alarms_are_rarer_than_one_in_a_hundred() -> None:
    alarms = 0
    for seed in range(600):
        make = (parallel, parallel, fan)[seed % 3]
        scan = make(*VIEWS[seed % 5], center=None)
        if isinstance(scan, ct.FanBeam) and scan.angles[-1] < math.pi:
            scan = fan(90, 0.75)
        alarms += bool(names(*measured(scan, seed, snr_db=(25.0, 32.0, 40.0)[seed // 3 % 3]), scan))
    assert alarms <= 6


@settings(max_examples=10)
@given(seed=SEEDS, views=SHARES, shift=st.sampled_from([-20.0, -3.0, -0.5, 0.5, 3.0, 20.0]))
def test_a_wrong_centre(seed: int, views: tuple[int, float], shift: float) -> None:
    scan = parallel(*views)
    sinogram, std = measured(scan, seed)
    wrong = parallel(*views, center=scan.center + shift)
    found = ct.mismatch(sinogram, None, torch.tensor(std), wrong, GRID).findings
    assert [finding.name for finding in found] == ["centre of rotation"]
    if abs(shift) < 4:
        assert found[0].size == pytest.approx(-shift, abs=0.15)


@settings(max_examples=6)
@given(seed=SEEDS, views=st.sampled_from([(60, 1.0), (180, 1.0), (120, 0.75)]))
def test_fans_fit_and_a_wrong_centre_is_named(seed: int, views: tuple[int, float]) -> None:
    scan = fan(*views)
    sinogram, std = measured(scan, seed)
    assert names(sinogram, std, scan) == []
    assert names(sinogram, std, fan(*views, center=scan.center - 0.5)) == ["centre of rotation"]


@settings(max_examples=8)
@given(seed=SEEDS, views=SHARES, bin_=st.integers(30, 210))
def test_rings(seed: int, views: tuple[int, float], bin_: int) -> None:
    scan = parallel(*views)
    sinogram, std = measured(scan, seed)
    sinogram[:, bin_] += 8 * std
    found = ct.mismatch(sinogram, None, torch.tensor(std), scan, GRID).findings
    assert [finding.name for finding in found] == ["rings"]
    assert any(f"{k}" in found[0].text for k in (bin_ - 1, bin_, bin_ + 1))
    one = found[0].size == 1
    assert ("1 detector bin differs from its" if one else "bins differ from their") in found[0].text


@pytest.mark.parametrize(
    ("size", "views", "seed", "index"),
    [(32, 40, 12, 0), (48, 30, 0, 1), (48, 60, 0, 1), (64, 20, 6, 1)],
)
def test_edges_that_stay_in_a_bin_for_half_of_the_views_are_no_rings(
    size: int, views: int, seed: int, index: int
) -> None:
    # once called rings, such edges were "taken out", and the rest fitted a centre 1.5 bins away
    grid = ct.ImageGrid((size, size))
    scan = parallel_scan(grid, views=views)
    clean = ct.shepp_logan(grid, seed=seed, index=index).sinogram(scan)
    assert names(*with_noise(clean, snr_db=40, seed=seed), scan, grid) == []


def test_false_alarms_of_small_scans_are_rare() -> None:
    alarms = 0
    for index in range(160):
        grid = ct.ImageGrid(((32, 48, 64, 96)[index % 4],) * 2)
        scan = parallel_scan(grid, views=20 + 10 * (index // 4 % 5))
        clean = ct.shepp_logan(grid, seed=2, index=index).sinogram(scan)
        alarms += bool(names(*with_noise(clean, snr_db=40, seed=index), scan, grid))
    assert alarms == 0


def test_noise_of_rays_beside_the_image_is_no_truncation() -> None:
    grid = ct.ImageGrid((48, 48))
    scan = parallel_scan(grid, views=40)
    clean = ct.shepp_logan(grid).sinogram(scan)
    for seed in range(5):
        assert names(*with_noise(clean, snr_db=22, seed=seed), scan, grid) == []


@settings(max_examples=10)
@given(
    seed=SEEDS, views=st.sampled_from([20, 40, 60]), shift=st.sampled_from([-4.0, -1.5, 1.5, 3.0])
)
def test_a_wrong_centre_of_a_small_scan(seed: int, views: int, shift: float) -> None:
    grid = ct.ImageGrid((64, 64))
    scan = parallel_scan(grid, views=views)
    clean = ct.shepp_logan(grid, seed=seed).sinogram(scan)
    sinogram, std = with_noise(clean, snr_db=40, seed=seed)
    wrong = ct.ParallelBeam(scan.angles, scan.n_detectors, center=scan.center + shift)
    (found,) = ct.mismatch(sinogram, None, torch.tensor(std), wrong, grid).findings
    assert found.name == "centre of rotation"
    assert found.size == pytest.approx(-shift, abs=0.5)


@settings(max_examples=8)
@given(seed=SEEDS, views=st.sampled_from([(60, 0.5), (180, 0.5), (60, 1.0), (61, 1.0)]))
def test_beam_hardening_of_two_materials(seed: int, views: tuple[int, float]) -> None:
    scan = parallel(*views)
    soft = 0.007 * line_integrals(random_ellipses(seed, radius=95), scan)
    parts = [Ellipse(3.0, 40, 15, 8, 8, 0.0), Ellipse(3.0, -40, -20, 8, 8, 0.0)]
    dense = 0.015 * line_integrals(parts, scan)
    assert names(*with_noise(hardened(soft, dense), snr_db=40, seed=seed), scan) == [
        "beam hardening"
    ]


@settings(max_examples=8)
@given(seed=SEEDS, views=SHARES)
def test_truncation(seed: int, views: tuple[int, float]) -> None:
    scan = parallel(*views)
    assert names(*measured(scan, seed, radius=165), scan) == ["truncation"]


def test_an_image_smaller_than_the_object() -> None:
    scan = parallel(60, 0.5)
    sinogram, std = measured(scan, 0)
    assert names(sinogram, std, scan, ct.ImageGrid((90, 90))) == ["truncation"]
    assert names(sinogram, std, scan, ct.ImageGrid((150, 150))) == []


def test_a_detector_moved_to_the_side_is_no_truncation() -> None:
    scan = parallel(180, 1.0, center=50.0)
    assert names(*measured(scan, 1, radius=170), scan, ct.ImageGrid((400, 400))) == []


@settings(max_examples=6)
@given(seed=SEEDS, offset=st.sampled_from([0.0, 0.4]))
def test_a_sharp_disc_about_the_axis_is_no_ring(seed: int, offset: float) -> None:
    scan = parallel(180, 0.5)
    disc = 0.01 * line_integrals([Ellipse(1.0, offset, 0, 70.3, 70.3, 0.0)], scan)
    assert names(*with_noise(disc, snr_db=40, seed=seed), scan) == []


def test_a_short_arc_says_what_it_cannot_show() -> None:
    scan = parallel(60, 0.3)
    sinogram, std = measured(scan, 0)
    found = ct.mismatch(sinogram, None, torch.tensor(std), scan, GRID)
    assert found.findings == ()
    assert found.unchecked == ("centre of rotation", "beam hardening")


def test_views_in_any_order() -> None:
    scan = parallel(60, 0.5)
    sinogram, std = measured(scan, 0)
    order = torch.randperm(60, generator=seeded_generator(0))
    mixed = with_angles(scan, [scan.angles[k] for k in order.tolist()])
    assert names(sinogram[order], std, mixed) == []


def test_chi_squared_of_the_true_line_integrals_is_one() -> None:
    scan = parallel(60, 0.5)
    clean = 0.01 * line_integrals(random_ellipses(0, radius=95), scan)
    sinogram, std = with_noise(clean, snr_db=40, seed=0)
    noise_std = torch.full_like(sinogram, std)
    sinogram[7], sinogram[:, 31] = sinogram[7] + 3 * std, 1e9
    noise_std[:, 31] = math.inf
    found = ct.mismatch(sinogram, clean, noise_std, scan, GRID).residuals
    assert found is not None
    assert found.per_view[7] == pytest.approx(10, abs=1.5)
    others = torch.cat([found.per_view[:7], found.per_view[8:]])
    assert float(others.mean()) == pytest.approx(1, abs=0.03)
    assert float(others.std()) == pytest.approx(math.sqrt(2 / (N - 1)), rel=0.3)
    assert bool(found.per_detector[31].isnan())
    assert found.chi2 == pytest.approx(1 + 9 / 60, abs=0.05)


def test_a_fan_with_many_rays_missing_leaves_its_centre_unchecked() -> None:
    scan = fan(60, 1.0)
    sinogram, std = measured(scan, seed=0)
    noise = torch.full_like(sinogram, std)
    found = ct.mismatch(sinogram, None, noise, scan, GRID)
    assert (found.findings, found.unchecked) == ((), ("beam hardening",))
    noise[:, : scan.n_detectors // 8] = math.inf
    found = ct.mismatch(sinogram, None, noise, scan, GRID)
    assert found.findings == ()
    assert "centre of rotation" in found.unchecked
