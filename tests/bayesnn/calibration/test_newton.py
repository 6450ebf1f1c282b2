"""Newton's method on convex functions that are not kind to it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bayesnn.calibration.newton import Derivatives, NoMinimumError, newton_minimum

F64 = torch.float64


def of(function, place: Tensor) -> Derivatives:
    gradient = torch.func.grad(function)(place)
    return float(function(place)), gradient, torch.func.hessian(function)(place)


@given(start=st.floats(-50, 50), centre=st.floats(-3, 3))
def test_steps_are_halved_where_whole_ones_run_away(start: float, centre: float) -> None:
    """On √(1 + x²) a whole step leads from x to −x³."""

    def bowl(x: Tensor) -> Derivatives:
        value = (1 + (x - centre).square()).sqrt()
        return float(value), (x - centre) / value, (value**-3)[:, None]

    found = newton_minimum(bowl, torch.tensor([start], dtype=F64))
    assert float(found) == pytest.approx(centre, abs=1e-9)


def test_several_parameters_at_once() -> None:
    factors = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=F64)

    def bowl(x: Tensor) -> Tensor:
        y = factors @ x
        return (y - 1).cosh().sum()

    found = newton_minimum(lambda x: of(bowl, x), torch.tensor([5.0, -4.0], dtype=F64))
    torch.testing.assert_close(factors @ found, torch.ones(2, dtype=F64))


@pytest.mark.parametrize(
    "falling",
    [
        lambda x: (-x).exp().sum(),
        lambda x: x[0].square() + 1e-12 * x[1].square(),
    ],
)
def test_functions_without_a_clear_minimum_are_refused(falling) -> None:
    with pytest.raises(NoMinimumError):
        newton_minimum(lambda x: of(falling, x), torch.ones(2, dtype=F64))
