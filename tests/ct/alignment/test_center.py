"""The centre of rotation is found to a tenth of a bin, from every kind of scan that has it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import ct
from bayesnn.seeds import seeded_generator
from ct.geometry import Scan
from tests.reference.ellipses import line_integrals, random_ellipses, with_noise

SEEDS = st.integers(0, 10**6)
N = 240


def turn(n_views: int, share: float) -> list[float]:
    return [share * 2 * math.pi * k / n_views for k in range(n_views)]


def measured(scan: Scan, seed: int, *, radius: float, snr_db: float = 40) -> Tensor:
    clean = line_integrals(random_ellipses(seed, radius=radius), scan)
    return with_noise(clean, snr_db=snr_db, seed=seed)[0]


def stripes(seed: int, std: float) -> Tensor:
    return std * torch.randn(N, generator=seeded_generator(seed, 2), dtype=torch.float64)


@settings(max_examples=12)
@given(seed=SEEDS, shift=st.floats(-12, 12), n_views=st.sampled_from([20, 45, 60, 180]))
def test_half_a_turn(seed: int, shift: float, n_views: int) -> None:
    scan = ct.ParallelBeam(turn(n_views, 0.5), N, center=(N - 1) / 2 + shift)
    found = ct.find_center(measured(scan, seed, radius=95), scan)
    assert abs(found.center - scan.center) < 0.1
    assert abs(found.center - scan.center) < 5 * found.error
    assert found.notes == ()


@settings(max_examples=8)
@given(
    seed=SEEDS,
    shift=st.floats(-12, 12),
    n_views=st.sampled_from([20, 21, 60, 181]),
    share=st.sampled_from([0.75, 1.0]),
)
def test_more_than_half_a_turn(seed: int, shift: float, n_views: int, share: float) -> None:
    scan = ct.ParallelBeam(turn(n_views, share), N, center=(N - 1) / 2 + shift)
    found = ct.find_center(measured(scan, seed, radius=95), scan)
    assert abs(found.center - scan.center) < 0.1
    assert found.method == "agreement of opposite rays"


@settings(max_examples=4)
@given(seed=SEEDS, center=st.floats(20, 60), n_views=st.sampled_from([60, 120]))
def test_the_axis_near_the_detectors_edge(seed: int, center: float, n_views: int) -> None:
    scan = ct.ParallelBeam(turn(n_views, 1.0), N, center=center)
    found = ct.find_center(measured(scan, seed, radius=200), scan)
    assert abs(found.center - center) < 0.1


@settings(max_examples=5)
@given(
    seed=SEEDS,
    shift=st.floats(-8, 8),
    views=st.sampled_from([(360, 1.0), (60, 1.0), (20, 1.0), (140, 0.68)]),
    curved=st.booleans(),
)
def test_fans(seed: int, shift: float, views: tuple[int, float], curved: bool) -> None:
    settings = {"source_origin": 200.0, "source_detector": 400.0, "curved": curved}
    angles = turn(*views)
    scan = ct.FanBeam(angles, N, center=(N - 1) / 2 + shift, **settings)
    found = ct.find_center(measured(scan, seed, radius=45), ct.FanBeam(angles, N, **settings))
    assert abs(found.center - scan.center) < 0.1


@pytest.mark.parametrize("curved", [False, True])
def test_a_source_a_little_to_the_side(curved: bool) -> None:
    angles = turn(360, 1.0)
    scan = ct.FanBeam(angles, N, 200.0, 400.0, center=117.2, source_offset=0.5, curved=curved)
    found = ct.find_center(measured(scan, 3, radius=45), scan)
    assert abs(found.center - 117.2) < 0.1


@settings(max_examples=4)
@given(seed=SEEDS, share=st.sampled_from([0.5, 1.0]))
def test_stripes_twice_as_strong_as_the_noise(seed: int, share: float) -> None:
    scan = ct.ParallelBeam(turn(90, share), N, center=122.7)
    clean = line_integrals(random_ellipses(seed, radius=95), scan)
    noisy, std = with_noise(clean, snr_db=40, seed=seed)
    found = ct.find_center(noisy + stripes(seed, 2 * std), scan)
    assert abs(found.center - 122.7) < 0.15


@settings(max_examples=8)
@given(seed=SEEDS, shift=st.floats(-8, 8))
def test_an_arc_of_100_degrees_with_the_error_it_says(seed: int, shift: float) -> None:
    scan = ct.ParallelBeam(turn(60, 100 / 360), N, center=(N - 1) / 2 + shift)
    found = ct.find_center(measured(scan, seed, radius=95), scan)
    assert abs(found.center - scan.center) < 4 * found.error < 1
    assert "less than half a turn" in found.notes[0]


@settings(max_examples=5)
@given(seed=SEEDS, shift=st.floats(-8, 8))
def test_half_a_turn_cut_off_at_the_edges_is_said(seed: int, shift: float) -> None:
    scan = ct.ParallelBeam(turn(180, 0.5), N, center=(N - 1) / 2 + shift)
    found = ct.find_center(measured(scan, seed, radius=165), scan)
    assert abs(found.center - scan.center) < 0.6
    assert "the object reaches beyond the detector" in found.notes


def test_rays_that_were_not_measured_do_not_count() -> None:
    scan = ct.ParallelBeam(turn(180, 1.0), N, center=122.7)
    sinogram = measured(scan, 1, radius=95)
    noise_std = torch.ones_like(sinogram)
    sinogram[:60, 100:110], noise_std[:60, 100:110] = 0.0, math.inf
    without = ct.find_center(sinogram, scan, noise_std=noise_std)
    assert abs(without.center - 122.7) < 0.02


def test_slices_have_one_centre_and_a_smaller_error() -> None:
    scan = ct.ParallelBeam(turn(60, 0.5), N, center=122.7)
    stack = torch.stack([measured(scan, seed, radius=95, snr_db=25) for seed in range(8)])
    together = ct.find_center(stack, scan)
    alone = [ct.find_center(one, scan) for one in stack]
    assert abs(together.center - 122.7) < 0.1
    assert together.error < 0.8 * sum(one.error for one in alone) / 8


def test_the_error_is_as_large_as_the_errors() -> None:
    scan = ct.ParallelBeam(turn(60, 0.5), N, center=122.7)
    clean = line_integrals(random_ellipses(5, radius=95), scan)
    found = [ct.find_center(with_noise(clean, snr_db=30, seed=seed)[0], scan) for seed in range(30)]
    spread = math.sqrt(sum((one.center - 122.7) ** 2 for one in found) / 30)
    typical = sorted(one.error for one in found)[15]
    assert 0.6 < typical / spread < 1.7


def test_the_order_of_the_views_and_whole_turns_do_not_matter() -> None:
    scan = ct.ParallelBeam(turn(61, 1.0), N, center=122.7)
    sinogram = measured(scan, 2, radius=95)
    order = torch.randperm(61, generator=seeded_generator(0))
    angles = [scan.angles[i] - 2 * math.pi for i in order.tolist()]
    mixed = ct.find_center(sinogram[order], ct.ParallelBeam(angles, N))
    assert mixed.center == pytest.approx(ct.find_center(sinogram, scan).center, abs=0.02)


@pytest.mark.parametrize(
    ("scan", "radius", "message"),
    [
        (ct.ParallelBeam(turn(60, 0.3), N), 165.0, "cut off at the detector's edges"),
        (ct.FanBeam(turn(60, 0.3), N, 200.0, 400.0), 45.0, "measured twice"),
    ],
)
def test_scans_that_hold_no_centre(scan: Scan, radius: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ct.find_center(measured(scan, 0, radius=radius), scan)


def test_shapes_and_empty_sinograms_are_refused() -> None:
    scan = ct.ParallelBeam(turn(20, 0.5), 30)
    with pytest.raises(ValueError, match="expected 20 views"):
        ct.find_center(torch.zeros(20, 31), scan)
    with pytest.raises(ValueError, match="one value everywhere"):
        ct.find_center(torch.zeros(20, 30), scan)


@pytest.mark.data
def test_the_neutron_sinogram(data_dir: Path) -> None:
    from tests.reference.real_scans import neutron_line_integrals

    sinogram, noise_std = neutron_line_integrals(data_dir)
    angles = [2 * math.pi * k / 458 for k in range(459)]
    found = ct.find_center(sinogram, ct.ParallelBeam(angles, 503), noise_std=noise_std)
    assert abs(found.center - 245.0) < 0.5
    assert found.error < 0.25


def test_values_in_hounsfield_units_are_mostly_negative() -> None:
    scan = ct.ParallelBeam(turn(90, 0.5), N, center=122.7)
    found = ct.find_center(-1000 * measured(scan, 4, radius=95), scan)
    assert abs(found.center - 122.7) < 0.1
    assert found.notes == ()
