"""Hounsfield units and back, and what water attenuates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ct.units import from_hounsfield, hounsfield_scale, to_hounsfield, water_attenuation


def test_the_two_points_that_define_the_scale() -> None:
    assert to_hounsfield(0.0, 0.02) == -1000
    assert to_hounsfield(0.02, 0.02) == 0


@given(st.floats(0, 1), st.floats(1e-3, 1))
def test_back_and_forth(mu: float, mu_water: float) -> None:
    hu = to_hounsfield(mu, mu_water)
    assert from_hounsfield(hu, mu_water) == pytest.approx(mu, rel=1e-9, abs=1e-12)


@given(st.floats(0, 1), st.floats(-0.5, 0.5))
def test_differences_and_deviations_scale_without_the_offset(mu: float, step: float) -> None:
    moved = to_hounsfield(mu + step, 0.02) - to_hounsfield(mu, 0.02)
    assert moved == pytest.approx(step * hounsfield_scale(0.02), rel=1e-6, abs=1e-6)


def test_containers_keep_their_kind() -> None:
    tensor = to_hounsfield(torch.tensor([0.0, 0.03]), 0.02)
    assert tensor.dtype == torch.float32
    assert tensor.tolist() == pytest.approx([-1000, 500])
    array = from_hounsfield(np.array([-1000.0, 500.0], dtype=np.float32), 0.02)
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, [0, 0.03], rtol=1e-6)


@pytest.mark.parametrize(
    ("kev", "per_mm"),
    [
        (60.0, 0.02059),  # the table's own
        (25.0, 0.050821),  # between, by an independent data base (xraylib 4.3)
        (35.0, 0.030748),
        (70.0, 0.019288),
        (120.0, 0.016138),
        (250.0, 0.012683),
    ],
)
def test_water(kev: float, per_mm: float) -> None:
    assert water_attenuation(kev) == pytest.approx(per_mm, rel=0.003)


def test_what_cannot_be() -> None:
    for bad in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="mu_water"):
            to_hounsfield(1.0, bad)
    for energy in (5.0, 511.0):
        with pytest.raises(ValueError, match="10 to 500 keV"):
            water_attenuation(energy)
