"""Scores of mixtures against numerical integration, other implementations and hand examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from bayesnn.calibration import crps_gaussian_mixture, nll_gaussian_mixture
from benchmarks.flight_delays.laws import Student
from benchmarks.flight_delays.mixture import Mixture
from benchmarks.flight_delays.scores import difference, flight_scores, inside, joined, summary


@pytest.fixture
def mixture() -> Mixture:
    generator = torch.Generator().manual_seed(0)
    return Mixture(
        means=20 * torch.randn(4, 30, generator=generator, dtype=torch.float64),
        stds=torch.rand(4, 30, generator=generator, dtype=torch.float64) * 30 + 1,
    )


@pytest.fixture
def y() -> Tensor:
    return 40 * torch.randn(30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def _density(mixture: Mixture, i: int, at: Tensor) -> Tensor:
    each = torch.distributions.Normal(mixture.means[:, i], mixture.stds[:, i])
    return each.log_prob(at[:, None]).exp().mean(1)


def test_nll_crps_and_pit_by_numerical_integration(mixture: Mixture, y: Tensor) -> None:
    grid = torch.linspace(-600, 600, 240_001, dtype=torch.float64)
    for i in (0, 7, 29):
        density = _density(mixture, i, grid)
        below = torch.cumulative_trapezoid(density, grid)
        step = (grid[1:] >= y[i]).double()
        crps = torch.trapezoid((below - step).square(), grid[1:])
        assert float(mixture.crps(y)[i]) == pytest.approx(float(crps), rel=3e-4)
        assert float(mixture.pit(y)[i]) == pytest.approx(
            float(torch.trapezoid(density[grid < y[i]], grid[grid < y[i]])), abs=2e-4
        )
        nll = -float(_density(mixture, i, y[i : i + 1]).log())
        assert float(mixture.nll(y)[i]) == pytest.approx(nll, rel=1e-12)


def test_means_over_flights_are_the_packages_scores(mixture: Mixture, y: Tensor) -> None:
    parts = (y, mixture.means, mixture.stds)
    torch.testing.assert_close(mixture.nll(y).mean(), nll_gaussian_mixture(*parts))
    torch.testing.assert_close(mixture.crps(y).mean(), crps_gaussian_mixture(*parts))


def test_crps_in_chunks_is_that_of_all(
    mixture: Mixture, y: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = mixture.crps(y)
    monkeypatch.setattr("benchmarks.flight_delays.mixture.CHUNK", 50)
    torch.testing.assert_close(mixture.crps(y), whole)


@pytest.mark.parametrize("level", [0.025, 0.25, 0.5, 0.975])
def test_quantiles_invert_probabilities(mixture: Mixture, level: float) -> None:
    below = mixture.pit(mixture.quantile(level))
    torch.testing.assert_close(below, torch.full_like(below, level), atol=1e-9, rtol=0)


def test_moments_of_a_hand_example_and_in_units() -> None:
    two = Mixture(means=torch.tensor([[1.0], [3.0]]), stds=torch.tensor([[1.0], [2.0]]))
    assert two.mean.tolist() == [2.0]
    assert two.epistemic_variance.tolist() == [2.0]  # unbiased: (1 + 1) / 1
    assert two.variance.tolist() == [1.0 + 2.5]
    minutes = two.in_units(10.0, 40.0)
    assert minutes.mean.tolist() == [90.0]
    assert minutes.variance.tolist() == [3.5 * 1600]
    assert minutes.epistemic_variance.tolist() == [2.0 * 1600]
    shift = minutes.nll(torch.tensor([90.0])) - two.nll(torch.tensor([2.0]))
    assert float(shift) == pytest.approx(math.log(40), rel=1e-5)


def test_epistemic_variance_that_is_known_apart() -> None:
    one = Mixture(
        means=torch.zeros(1, 2), stds=torch.full((1, 2), 3.0), epistemic=torch.tensor([4.0, 1.0])
    )
    assert one.epistemic_variance.tolist() == [4.0, 1.0]
    assert one.in_units(0.0, 2.0).epistemic_variance.tolist() == [16.0, 4.0]
    alone = Mixture(means=torch.zeros(1, 2), stds=torch.ones(1, 2))
    assert alone.epistemic_variance.tolist() == [0.0, 0.0]


def test_summary_of_a_hand_example() -> None:
    normal = Mixture(
        means=torch.zeros(1, 4, dtype=torch.float64),
        stds=torch.tensor([[1.0, 1.0, 7.0, 7.0]], dtype=torch.float64),
    )
    y = torch.tensor([0.5, -1.5, 3.0, 30.0], dtype=torch.float64)
    found = summary(flight_scores(normal, y))
    assert found["flights"] == 4
    assert found["rmse"] == pytest.approx(math.sqrt((0.25 + 2.25 + 9 + 900) / 4))
    assert found["inside50"] == 0.5  # |z| of 0.5 and 0.43 against 0.67
    assert found["inside95"] == 0.75  # |z| of 4.3
    assert found["width50"] == pytest.approx(2 * 0.67449 * 4, rel=1e-4)
    assert found["width95"] == pytest.approx(2 * 1.95996 * 4, rel=1e-4)
    # one width: sd 5 for all
    assert found["one_width_inside95"] == 0.75
    assert found["one_width_width95"] == pytest.approx(2 * 1.95996 * 5, rel=1e-4)
    expected = 0.5 * np.log(2 * np.pi * 25) + (0.25 + 2.25 + 9 + 900) / 4 / 50
    assert found["one_width_nll"] == pytest.approx(expected)


def test_calibration_error_of_even_and_of_central_probabilities() -> None:
    normal = Mixture(means=torch.zeros(1, 1999), stds=torch.ones(1, 1999))
    even = torch.arange(1, 2000, dtype=torch.float64) / 2000
    y = math.sqrt(2) * torch.erfinv(2 * even - 1)
    assert summary(flight_scores(normal, y))["ece"] < 1e-3
    found = summary(flight_scores(normal, torch.zeros(1999, dtype=torch.float64)))
    assert found["ece"] == pytest.approx(0.05 * sum(1 - k / 20 for k in range(20)))
    assert inside(np.array([0.0, 0.25, 0.76, 0.5]), 0.5) == 0.5


def test_differences_are_clustered_by_day() -> None:
    # differences 1, 1, 5, 5 on two days: r = ∓4, Var = 2/1 · (16 + 16) / 16
    first = {"nll": np.array([2.0, 3.0, 7.0, 8.0])}
    second = {"nll": np.array([1.0, 2.0, 2.0, 3.0])}
    found = difference(first, second, "nll", day=np.array([4, 4, 9, 9]))
    assert found.mean == 3.0
    assert found.standard_error == pytest.approx(2.0)
    assert found.degrees_of_freedom == 1
    assert difference(second, first, "nll", day=np.array([4, 4, 9, 9])).mean == -3.0


def test_joined_parts_keep_their_order() -> None:
    both = joined([{"nll": np.array([1.0])}, {"nll": np.array([2.0, 3.0])}])
    assert both["nll"].tolist() == [1.0, 2.0, 3.0]


def test_moved_mixtures_keep_all_that_they_are() -> None:
    known = torch.tensor([0.5])
    one = Mixture(
        means=torch.tensor([[1.0]]), stds=torch.tensor([[2.0]]), epistemic=known, law=Student(3)
    )
    moved = one.to("meta")
    assert moved.law == Student(3)
    assert moved.epistemic is not None
    assert {moved.means.device.type, moved.stds.device.type, moved.epistemic.device.type} == {
        "meta"
    }
    assert torch.equal(one.to("cpu").epistemic_variance, known)
