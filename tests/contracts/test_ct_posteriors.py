"""Laws of every posterior over images: what must widen it, narrow it, or turn it."""

import dataclasses
import math

import pytest
import torch

from ct.result import Reconstruction
from tests.contracts.ct_posterior_cases import BASE, CASES, dense_posterior, solved
from tests.reference.gaussian_scan import SIDE, DensePixels, GaussianScan


def _every_case(law: str) -> pytest.MarkDecorator:
    params = [
        pytest.param(
            case,
            id=case.name,
            marks=[
                *([pytest.mark.xfail(reason=case.lacks[law])] if law in case.lacks else []),
                *([pytest.mark.slow] if case.slow else []),
            ],
        )
        for case in CASES
    ]
    return pytest.mark.parametrize("case", params)


def _rms(values: torch.Tensor) -> float:
    return float(values.double().square().mean().sqrt())


@_every_case("noise")
def test_more_noise_widens(case):
    noisier = solved(case, GaussianScan(noise=4 * BASE.noise))
    assert _rms(noisier.std) > 1.15 * _rms(solved(case, BASE).std)


@_every_case("views")
def test_more_views_narrow(case):
    more = solved(case, GaussianScan(views=3 * BASE.views))
    assert _rms(more.std) < 0.9 * _rms(solved(case, BASE).std)


@_every_case("arc")
def test_a_limited_arc_puts_the_spread_along_the_missing_directions(case):
    arc = math.pi / 3
    limited = solved(case, GaussianScan(arc=arc))
    ratio = _missing_over_measured(limited, arc) / _missing_over_measured(solved(case, BASE), arc)
    assert ratio > 1.3


def _missing_over_measured(result: Reconstruction, arc: float) -> float:
    """Mean energy of the samples' deviations in Fourier directions that the arc misses or sees."""
    assert result.samples is not None
    window = torch.hann_window(SIDE + 2, periodic=False)[1:-1]  # no leakage from edge to edge
    deviations = (result.samples - result.mean) * window * window[:, None]
    energy = torch.fft.fft2(deviations).abs().square().mean(0)
    frequency = torch.fft.fftfreq(SIDE)
    radius = torch.hypot(frequency, frequency[:, None])
    # a view at θ sees the direction θ, and y is up while rows count down
    angle = torch.atan2(-frequency[:, None], frequency).remainder(math.pi)
    middle = (radius > 1.5 / SIDE) & (radius < 0.5)
    margin = 0.2
    seen = (angle < arc - margin) & (angle > margin)
    missed = (angle > arc + margin) & (angle < math.pi - margin)
    return float(energy[middle & missed].mean() / energy[middle & seen].mean())


@_every_case("turn")
def test_a_quarter_turn_of_scan_and_grid_turns_the_posterior(case):
    still = solved(case, BASE)
    turned = solved(case, GaussianScan(turn=math.pi / 2), seed=2)
    back = torch.rot90(turned.mean, -1)
    wrong = torch.rot90(turned.mean, 1)
    assert _rms(back - still.mean) < case.turned * _rms(still.std)
    assert _rms(back - still.mean) < 0.5 * _rms(wrong - still.mean)
    assert 0.75 < _rms(turned.std) / _rms(still.std) < 1.33


@_every_case("units")
def test_units_of_values_and_of_lengths(case):
    plain = solved(case, BASE)
    values = solved(case, GaussianScan(values=1024.0))
    lengths = solved(case, GaussianScan(lengths=4.0))
    for other, factor in ((values, 1024.0), (lengths, 1.0)):
        for name in ("mean", "std", "samples"):
            ours, theirs = factor * getattr(plain, name), getattr(other, name)
            assert torch.allclose(ours, theirs, rtol=1e-6, atol=1e-6 * factor), (name, factor)


@pytest.mark.parametrize(
    "law",
    [
        test_more_noise_widens,
        test_more_views_narrow,
        test_a_limited_arc_puts_the_spread_along_the_missing_directions,
        test_a_quarter_turn_of_scan_and_grid_turns_the_posterior,
    ],
)
def test_a_spread_that_takes_no_notice_breaks_the_laws(law):
    posterior = dense_posterior(BASE, solved(CASES[0], BASE))
    case = dataclasses.replace(CASES[0], method=DensePixels(n_samples=100, always=posterior))
    with pytest.raises(AssertionError):
        law(case)
