"""Student's t against SciPy, and the degrees of freedom of a sum of variances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bayesnn.student_t import t_log_density, t_quantile, welch_satterthwaite

degrees_of_freedom = st.floats(0.5, 1e7)


@given(df=degrees_of_freedom, z=st.floats(-50, 50))
def test_log_density_is_scipys(df: float, z: float) -> None:
    got = t_log_density(
        torch.tensor([z], dtype=torch.float64), torch.tensor([df], dtype=torch.float64)
    )
    assert float(got) == pytest.approx(stats.t(df).logpdf(z), rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("df", [999.0, 1000.0, 1001.0, 1e8, 1e10])
def test_log_density_is_smooth_where_the_formula_changes(df: float) -> None:
    at = torch.tensor([df], dtype=torch.float64)
    zero = torch.zeros(1).double()
    limit = -0.5 * np.log(2 * np.pi) - 1 / (4 * df)  # next term is of order df⁻³
    assert float(t_log_density(zero, at)) == pytest.approx(limit, abs=1e-9)


@given(df=degrees_of_freedom, q=st.floats(1e-4, 1 - 1e-4))
def test_quantile_is_scipys(df: float, q: float) -> None:
    got = t_quantile(q, torch.tensor([df], dtype=torch.float64))
    assert float(got) == pytest.approx(stats.t(df).ppf(q), rel=1e-6, abs=1e-9)


@given(epistemic=st.floats(0, 100), noise=st.floats(0, 100), n_members=st.integers(2, 500))
def test_degrees_lie_between_the_members_and_the_gaussian(
    epistemic: float, noise: float, n_members: int
) -> None:
    scale2, degrees = welch_satterthwaite(
        torch.tensor([epistemic], dtype=torch.float64),
        torch.tensor([noise], dtype=torch.float64),
        n_members,
    )
    assert float(scale2) == pytest.approx(epistemic * (1 + 1 / n_members) + noise)
    assert n_members - 1 <= float(degrees) * (1 + 1e-12) <= 1e10 * (1 + 1e-9)


def test_degrees_by_hand() -> None:
    """s² = 4, M = 4, σ² = 5: 4·1.25 = 5, so half the variance is estimated: 3 · 2²."""
    scale2, degrees = welch_satterthwaite(torch.tensor([4.0]), torch.tensor([5.0]), 4)
    assert float(scale2) == pytest.approx(10.0)
    assert float(degrees) == pytest.approx(12.0)


def test_dtype_and_device_follow(device: str) -> None:
    one = torch.ones(2, device=device)
    scale2, degrees = welch_satterthwaite(one, one, 5)
    for result in (scale2, degrees, t_quantile(0.9, degrees), t_log_density(one, degrees)):
        assert result.dtype == torch.float32
        assert result.device.type == device
