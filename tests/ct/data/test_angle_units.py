"""Angles in degrees or radians, and values that contradict what a file calls them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ct.data.angle_units import angles_in_radians


@pytest.mark.parametrize(
    ("values", "units", "expected"),
    [
        ([0.0, 90.0], "degree", [0, np.pi / 2]),
        ([0.0, 1.0], "rad", [0, 1]),
        ([0.0, 90.0], "", [0, np.pi / 2]),
        (np.arange(60) * np.pi / 60, "", np.arange(60) * np.pi / 60),
        (np.arange(60) * 0.5, "degrees", np.deg2rad(np.arange(60) * 0.5)),
    ],
)
def test_units_of_angles(values: Any, units: str, expected: Any) -> None:
    np.testing.assert_allclose(angles_in_radians(values, units, "f"), expected)


@pytest.mark.parametrize(
    ("values", "units", "message"),
    [
        (np.arange(180.0), "radians", "reach 179: they look like degrees"),
        (np.arange(180) * np.pi / 180, "degrees", "look like radians"),
        (np.arange(720) * np.pi / 360, "deg", "2.00 π"),
        (np.arange(10.0) / 9, "", "have no units"),
        ([1.0, np.nan], "degrees", "1 NaN"),
        ([1.0], "turns", "found 'turns'"),
        ([], "degrees", "of 0"),
    ],
)
def test_angles_that_contradict_their_units(values: Any, units: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        angles_in_radians(values, units, "f")
