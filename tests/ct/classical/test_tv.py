from __future__ import annotations

import math

import pytest
import torch

import ct
from ct.classical.tv_differences import anisotropic
from tests.reference.small_tomography import small_scan

SCAN = small_scan()
NOISE = SCAN.precision.rsqrt()


def _reconstruct(method, *, noise=NOISE, sinogram=SCAN.sinogram):
    return ct.reconstruct(sinogram, SCAN.scan, SCAN.grid, method=method, noise_std=noise)


def test_diagnostics_certify_the_image() -> None:
    result = _reconstruct(ct.tv(tolerance=1e-3))
    found = result.metadata["diagnostics"][0]
    assert found["converged"] is True
    assert 0 <= found["relative_gap"] <= 1e-3
    assert found["tv_weight_source"] == "held-out views"
    assert found["tv_weight"] > 0
    residual = (SCAN.operator(result.mean) - SCAN.sinogram) / NOISE
    assert found["chi_squared_per_ray"] == pytest.approx(float(residual.square().mean()))
    assert found["iterations"] % 10 == 0


def test_a_given_weight_is_used_and_an_early_stop_is_said() -> None:
    result = _reconstruct(ct.tv(weight=2.0, max_iterations=3, tolerance=1e-6))
    found = result.metadata["diagnostics"][0]
    assert found["tv_weight"] == 2.0
    assert found["tv_weight_source"] == "given"
    assert found["iterations"] == 3
    assert found["converged"] is False


def test_bounds_hold_and_change_the_image() -> None:
    free = _reconstruct(ct.tv(weight=0.1)).mean
    held = _reconstruct(ct.tv(weight=0.1, minimum=0.05, maximum=0.9)).mean
    assert float(free.min()) < 0.05
    assert float(free.max()) > 0.9
    assert float(held.min()) >= 0.05
    assert float(held.max()) <= 0.9


def test_more_weight_costs_fit_and_norms_differ() -> None:
    chi = [
        _reconstruct(ct.tv(weight=w)).metadata["diagnostics"][0]["chi_squared_per_ray"]
        for w in (0.1, 1.0, 10.0)
    ]
    assert chi == sorted(chi)
    assert chi[0] < 0.9 < chi[2]
    one, other = (
        _reconstruct(m).mean for m in (ct.tv(weight=2.0), ct.tv(weight=2.0, norm=anisotropic))
    )
    assert float((one - other).abs().max()) > 1e-3


def test_rays_that_were_not_measured_do_not_count() -> None:
    noise = NOISE.clone()
    noise[3] = math.inf
    noise[:, 5] = math.inf
    wild = torch.where(noise.isfinite(), SCAN.sinogram, 1e3)
    one, other = (_reconstruct(ct.tv(), noise=noise, sinogram=s) for s in (SCAN.sinogram, wild))
    torch.testing.assert_close(one.mean, other.mean)
    n_rays = int(noise.isfinite().sum())
    residual = ((SCAN.operator(one.mean) - SCAN.sinogram) / noise).square().sum() / n_rays
    found = one.metadata["diagnostics"][0]["chi_squared_per_ray"]
    assert found == pytest.approx(float(residual))


def test_an_empty_scan_gives_an_empty_image() -> None:
    result = _reconstruct(ct.tv(), noise=0.1, sinogram=torch.zeros_like(SCAN.sinogram))
    assert float(result.mean.abs().max()) == 0
    assert result.metadata["diagnostics"][0]["converged"] is True


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": 0.0}, "weight"),
        ({"weight": math.nan}, "weight"),
        ({"minimum": math.inf}, "minimum: expected a finite number"),
        ({"maximum": "1"}, "maximum: expected a finite number"),
        ({"minimum": 1.0, "maximum": 1.0}, "maximum: expected more than minimum"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"tolerance": 1.5}, "tolerance"),
        ({"max_iterations": 0}, "max_iterations"),
    ],
)
def test_impossible_settings_are_refused(settings, message, as_users_run) -> None:
    with pytest.raises(ValueError, match=message):
        ct.tv(**settings)
