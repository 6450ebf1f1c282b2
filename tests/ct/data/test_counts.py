"""Readings to line integrals: values, the noise of each ray, and rays that were not measured."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from jaxtyping import Float64

from ct.data.counts import estimate_gain, measure
from ct.data.detector_response import (
    DetectorResponse,
    interpolated,
    response_from_flats,
    response_from_i0,
)
from ct.data.missing_rays import fill_missing
from ct.data.noise_models import draw_counts

VIEWS, BINS = 180, 200
I0 = 20_000.0
Truth = Float64[np.ndarray, "views detectors"]


def truth(height: float = 3.0) -> Truth:
    """The line integrals of a disc off the axis."""
    angles = np.arange(VIEWS)[:, None] * np.pi / VIEWS
    s = np.arange(BINS) - (BINS - 1) / 2 - 20 * np.cos(angles)
    return height * np.sqrt(np.maximum(0, 1 - (s / 60) ** 2))


def drawn(p: np.ndarray, seed: int, *, gain: float, dark: float, read_std: float) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    profile = 1 + 0.3 * np.cos(np.arange(BINS) / 30)  # of the beam
    line = torch.from_numpy(np.ascontiguousarray(p - np.log(profile)))
    counts = draw_counts(line, I0, generator, gain=gain, dark=dark, read_std=read_std)
    return counts.numpy().astype(np.float32)


def scan(
    *, gain: float = 4.0, dark: float = 300.0, read_std: float = 12.0, n_flats: int = 10
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Readings, flats and darks of the disc."""
    detector = {"gain": gain, "dark": dark, "read_std": read_std}
    readings = drawn(truth(), 1, **detector)
    flats = drawn(np.zeros((n_flats, BINS)), 2, **detector)
    darks = drawn(np.full((n_flats, BINS), 99.0), 3, **detector)
    return readings, flats, darks


def plain_response(i0: float = I0, n: int = BINS) -> DetectorResponse:
    return response_from_i0(i0, n, None)


def test_the_noise_of_each_ray_is_what_its_errors_are() -> None:
    """Standardised errors have variance 1: where it is bright, where it is dark, on the whole."""
    readings, flats, darks = scan()
    response = response_from_flats(flats, darks)
    assert response.gain == pytest.approx(4, rel=0.08)
    assert response.read_variance == pytest.approx(144, rel=0.08)
    measured = measure(readings, response, response.gain)
    assert measured.noise_std is not None
    errors = (measured.values - truth()) / measured.noise_std
    assert float(errors.var()) == pytest.approx(1, rel=0.06)
    for rays in (truth() == 0, (truth() > 1) & (truth() < 2), truth() > 2.5):
        assert float(np.square(errors[rays]).mean()) == pytest.approx(1, rel=0.1)
    assert (measured.n_missing, measured.n_raised) == (0, 0)


def test_few_flats_make_stripes_that_the_noise_includes() -> None:
    readings, flats, darks = scan(n_flats=2, read_std=0.0)
    response = response_from_flats(flats, darks)
    measured = measure(readings, response, 4.0)
    assert measured.noise_std is not None
    errors = (measured.values - truth()) / measured.noise_std
    # beside the disc, half as much noise again comes from the mean of two flats
    beside = truth() == 0
    assert float(np.square(errors[beside]).mean()) == pytest.approx(1, rel=0.12)
    photons = 4.0 / np.square(measured.noise_std[beside]) / (readings[beside] - 300)
    np.testing.assert_allclose(photons, 1 / 1.5, rtol=0.1)


@pytest.mark.parametrize(("gain", "i0"), [(1.0, 5e3), (1.0, 1e5), (8.0, 3e4)])
def test_the_gain_is_found_in_the_sinogram_where_flats_are_absent(gain: float, i0: float) -> None:
    generator = torch.Generator().manual_seed(0)
    readings = draw_counts(torch.from_numpy(truth()), i0, generator, gain=gain).float().numpy()
    response = plain_response(i0)
    assert response.gain is None
    found = estimate_gain(readings, response)
    assert found == pytest.approx(gain, rel=0.1)
    measured = measure(readings, response, found)
    assert measured.noise_std is not None
    errors = (measured.values - truth()) / measured.noise_std
    assert float(np.square(errors).mean()) == pytest.approx(1, rel=0.1)


def test_a_gain_that_nothing_tells() -> None:
    assert estimate_gain(np.full((3, 4), 50, np.float32), plain_response(n=4)) is None
    flat = response_from_flats(np.full((1, BINS), 100, np.float32), None)
    assert flat.gain is None
    measured = measure(np.full((3, 4), 50, np.float32), plain_response(100.0, 4), None)
    assert measured.noise_std is None
    np.testing.assert_allclose(measured.values, math.log(2), rtol=1e-6)


def test_flats_change_brightness_and_cosmic_rays_hit_them() -> None:
    _, flats, darks = scan()
    before = response_from_flats(flats, darks)
    brightness = np.linspace(0.9, 1.1, len(flats), dtype=np.float32)[:, None]
    hit = (flats - 300) * brightness + 300
    hit[3, 50] += 30_000
    hit[5, 51] += 3_000
    after = response_from_flats(hit, darks)
    np.testing.assert_allclose(after.i0[[50, 51]], before.i0[[50, 51]], rtol=0.01)
    assert after.gain == pytest.approx(4, rel=0.1)
    assert not after.broken.any()


def test_flats_from_before_and_after_are_interpolated_over_the_views() -> None:
    """A source that fades by a tenth, and a bin that dies: errors stay what the noise says."""
    detector = {"gain": 4.0, "dark": 300.0, "read_std": 12.0}
    fading = np.linspace(0, -math.log(0.9), VIEWS)[:, None]
    readings = drawn(truth() + fading, 1, **detector)
    before = drawn(np.zeros((3, BINS)), 2, **detector)
    after = drawn(np.full((3, BINS), -math.log(0.9)), 3, **detector)
    darks = drawn(np.full((10, BINS), 99.0), 4, **detector)
    after[:, 77] = darks[:3, 77]
    response = interpolated(
        response_from_flats(before, darks), response_from_flats(after, darks), VIEWS
    )
    assert response.broken.nonzero()[0].tolist() == [77]
    # in the middle both means count by half: as many readings as in both together
    np.testing.assert_allclose(response.n_flats[[0, -1]], 3)
    np.testing.assert_allclose(response.n_flats[VIEWS // 2], 6, rtol=0.01)
    measured = measure(readings, response, 4.0)
    assert measured.noise_std is not None
    errors = (measured.values - truth()) / measured.noise_std
    seen = np.isfinite(measured.noise_std)
    for views in (slice(0, 60), slice(60, 120), slice(120, 180)):
        assert float(np.square(errors[views][seen[views]]).mean()) == pytest.approx(1, rel=0.12)
    unaware = measure(readings, response_from_flats(before, darks), 4.0).values - truth()
    assert float(unaware[-10:][:, :20].mean()) > 0.08  # what the fading would have done


def test_broken_bins_are_found_and_interpolated() -> None:
    readings, flats, darks = scan()
    flats[:, 10] = darks[:, 10]  # does not respond
    flats[2, 20] = np.nan
    flats[:, 30] = 65_535  # saturated
    darks[:, 40] = flats[:, 40] * 0.8  # hot
    flats[::2, 50] *= 2  # erratic
    darks[0, 60] = np.inf
    readings[:, 20] = np.nan  # which no one may see
    response = response_from_flats(flats, darks)
    assert np.flatnonzero(response.broken).tolist() == [10, 20, 30, 40, 50, 60]
    assert response.faults == {
        "not finite": 2, "no response": 1, "hot": 1, "stuck": 1, "erratic": 1,
    }  # fmt: skip
    measured = measure(readings, response, response.gain)
    assert measured.n_missing == 6 * VIEWS
    assert measured.noise_std is not None
    assert np.isinf(measured.noise_std).sum() == 6 * VIEWS
    neighbours = (measured.values[:, 9] + measured.values[:, 11]) / 2
    np.testing.assert_allclose(measured.values[:, 10], neighbours, rtol=1e-5, atol=1e-6)
    assert np.isfinite(measured.values).all()


def test_dark_bins_in_the_data_are_missing_where_light_must_be_and_raised_where_it_ends() -> None:
    p = np.zeros((40, 60))
    p[:, 30:40] = 20.0  # opaque: no photon comes through
    generator = torch.Generator().manual_seed(0)
    readings = draw_counts(torch.from_numpy(p), 1000.0, generator).float().numpy()
    readings[:, 12] = 0  # a dead bin
    readings[7] = 0  # a lost view
    measured = measure(readings, plain_response(1000.0, 60), 1.0)
    assert measured.noise_std is not None
    missing = np.isinf(measured.noise_std)
    expected = np.zeros_like(missing)
    expected[:, 12] = expected[7] = True
    np.testing.assert_array_equal(missing, expected)
    assert measured.n_missing == 60 + 39
    assert measured.n_raised == 39 * 10
    np.testing.assert_allclose(measured.values[0, 30:40], math.log(1000 / 0.5), rtol=1e-6)
    np.testing.assert_allclose(measured.noise_std[0, 30:40], math.sqrt(0.5) / 0.5, rtol=1e-6)
    np.testing.assert_allclose(
        measured.values[7], (measured.values[6] + measured.values[8]) / 2, atol=1e-6
    )


def test_readings_within_the_read_out_noise_of_nothing_are_raised_to_it() -> None:
    """Or −log of a hundredth of a photon would be a ray of great weight and no truth."""
    _, flats, darks = scan()
    response = response_from_flats(flats, darks)
    readings = np.broadcast_to(response.dark + 400.0, (5, BINS)).astype(np.float32)
    readings[2, 90:110] = response.dark[90:110] + 0.01
    measured = measure(readings, response, 4.0)
    assert measured.noise_std is not None
    assert (measured.n_raised, measured.n_missing) == (20, 0)
    read_std = response.read_variance**0.5
    expected = np.log(response.i0[90:110] / read_std)
    np.testing.assert_allclose(measured.values[2, 90:110], expected, rtol=1e-5)
    assert (measured.noise_std[2, 90:110] > 1).all()


def test_missing_rays_have_a_noise_beside_them_even_without_a_gain() -> None:
    readings, flats, _ = scan(dark=0, read_std=0)
    flats[:, 33] = 0
    response = response_from_flats(flats[:1], None)
    measured = measure(readings, response, None)
    assert measured.noise_std is not None
    assert np.isinf(measured.noise_std[:, 33]).all()
    assert len(np.unique(measured.noise_std)) == 2


@pytest.mark.parametrize(
    ("flats", "darks", "message"),
    [
        (np.zeros((3, 4)), None, "flats: expected readings above the dark level"),
        (np.full((3, 4), np.nan), None, "none in any of 4 bins"),
        (np.full((3, 4), 90.0), np.full((3, 4), 100.0), "neither empty nor exchanged"),
        (np.full((3, 4), 90.0), np.full((3, 4), np.nan), "darks: expected finite"),
    ],
)
def test_flats_that_cannot_be(flats: np.ndarray, darks: np.ndarray | None, message: str) -> None:
    dark = None if darks is None else darks.astype(np.float32)
    with pytest.raises(ValueError, match=message):
        response_from_flats(flats.astype(np.float32), dark)


def test_counts_that_cannot_be() -> None:
    response = response_from_i0(1000.0, 4, np.full((2, 4), 500, np.float32))
    with pytest.raises(ValueError, match=r"above the dark level \(median 500\), found 100 %"):
        measure(np.full((3, 4), 400, np.float32), response, 1.0)
    bad = np.full((3, 4), 900, np.float32)
    bad[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"1 NaN or infinite .*view 1, detector 2"):
        measure(bad, response, 1.0)
    with pytest.raises(ValueError, match="darks: expected readings below --i0"):
        response_from_i0(400.0, 4, np.full((2, 4), 500, np.float32))


def test_missing_rays_are_interpolated_along_the_detector() -> None:
    values = np.array([[0.0, 9.0, 9.0, 3.0, 9.0], [9.0, 9.0, 9.0, 9.0, 9.0], [2.0, 2, 2, 2, 2]])
    missing = np.array([[0, 1, 1, 0, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], dtype=bool)
    filled = fill_missing(values, missing)
    np.testing.assert_allclose(filled[0], [0, 1, 2, 3, 3])
    np.testing.assert_allclose(filled[1], [1, 1.5, 2, 2.5, 2.5])
    with pytest.raises(ValueError, match="found none"):
        fill_missing(values, np.ones_like(missing))
