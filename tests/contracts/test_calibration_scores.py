"""Laws of scores and calibration errors: propriety, invariance, equivariance, bounds, bad input."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bayesnn import calibration as c
from bayesnn.seeds import seeded_generator

seeds = st.integers(0, 10_000)
QUANTILES = torch.special.ndtri((torch.arange(100, dtype=torch.float64) + 0.5) / 100)


@dataclass(frozen=True)
class Forecast:
    """A score of Gaussian forecasts, told in the score's own terms; `log` if it scales as one."""

    name: str
    score: Callable[[Tensor, Tensor, Tensor], Tensor]
    log: bool = False


def halves(mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor, list[float]]:
    """Return the same Gaussian in two unequal parts."""
    return torch.stack([mean, mean]), torch.stack([std, std]), [0.3, 0.7]


def drawn(mean: Tensor, std: Tensor) -> Tensor:
    """Return 100 samples that stand at the Gaussian's quantiles."""
    return mean + std * QUANTILES[:, None].to(mean.device)


FORECASTS = [
    Forecast("nll_gaussian", c.nll_gaussian, log=True),
    Forecast("crps_gaussian", c.crps_gaussian),
    Forecast("nll_mixture", lambda y, m, s: c.nll_gaussian_mixture(y, *halves(m, s)), log=True),
    Forecast("crps_mixture", lambda y, m, s: c.crps_gaussian_mixture(y, *halves(m, s))),
    Forecast("crps_samples", lambda y, m, s: c.crps_samples(y, drawn(m, s))),
    Forecast("fair_crps_samples", lambda y, m, s: c.fair_crps_samples(y, drawn(m, s))),
    Forecast("energy", lambda y, m, s: c.energy_score(y[:, None], drawn(m, s)[..., None])),
    Forecast(
        "fair_energy", lambda y, m, s: c.fair_energy_score(y[:, None], drawn(m, s)[..., None])
    ),
    Forecast("interval", lambda y, m, s: c.interval_score((m - 1.645 * s, m + 1.645 * s), y, 0.9)),
]
each_forecast = pytest.mark.parametrize("case", FORECASTS, ids=lambda case: case.name)


def points(seed: int, n: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    draws = torch.randn(3, n, generator=seeded_generator(seed), dtype=torch.float64)
    return draws[0], draws[1], draws[2].exp()


@each_forecast
@given(seed=seeds, scale=st.floats(0.01, 100), shift=st.floats(-50, 50))
def test_units_and_the_order_of_points(
    case: Forecast, seed: int, scale: float, shift: float
) -> None:
    """A score in y's units grows as they do, a logarithmic one by their logarithm."""
    y, mean, std = points(seed)
    want = float(case.score(y, mean, std))
    order = torch.randperm(len(y), generator=seeded_generator(seed, 1))
    assert float(case.score(y[order], mean[order], std[order])) == pytest.approx(want, rel=1e-9)
    scaled = float(case.score(scale * y, scale * mean, scale * std))
    expected = want + math.log(scale) if case.log else scale * want
    assert scaled == pytest.approx(expected, rel=1e-9, abs=1e-9)
    shifted = float(case.score(y + shift, mean + shift, std))
    assert shifted == pytest.approx(want, rel=1e-9, abs=1e-9)
    mirrored = float(case.score(-y, -mean, std))
    assert mirrored == pytest.approx(want, rel=1e-9, abs=1e-9)
    if not case.log and not case.name.startswith("fair"):
        assert want >= 0


@each_forecast
@given(shift=st.floats(-2, 2), factor=st.floats(0.3, 3))
def test_the_truth_has_the_least_expected_score(
    case: Forecast, shift: float, factor: float
) -> None:
    probability = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    y = 1 + 2 * torch.special.ndtri(probability)
    mean, std = torch.ones_like(y), torch.full_like(y, 2.0)
    truth, other = case.score(y, mean, std), case.score(y, mean + shift, factor * std)
    distance = abs(shift) + abs(math.log(factor))
    assert float(other - truth) > -1e-3
    if distance > 0.3:
        assert float(other - truth) > 2e-3


@each_forecast
def test_simulated_truth_beats_simulated_error(case: Forecast) -> None:
    """Draws in place of quantiles: the difference exceeds its standard errors by far."""
    n = 3000
    generator = seeded_generator(5)
    mean, log_std, z = torch.randn(3, n, generator=generator, dtype=torch.float64)
    std = (0.3 * log_std).exp()
    y = mean + std * z
    for wrong in ((mean + 0.3 * std, std), (mean, 1.5 * std), (mean, std / 1.5)):
        assert float(case.score(y, mean, std)) < float(case.score(y, *wrong)) - 0.005


CLASS_SCORES = [c.brier_score, c.log_score]
CLASS_ERRORS = [
    c.top_label_calibration_error, c.adaptive_calibration_error, c.classwise_calibration_error,
    c.debiased_squared_calibration_error, c.debiased_calibration_error,
]  # fmt: skip


@pytest.mark.parametrize("score", CLASS_SCORES)
@given(seed=seeds, classes=st.integers(2, 5))
def test_the_true_probabilities_have_the_least_expected_score(
    score: Callable[..., Tensor], seed: int, classes: int
) -> None:
    truth, other = np.random.default_rng(seed).dirichlet(np.ones(classes), 2)

    def expected(q: np.ndarray) -> float:
        return sum(p * float(score([k], [q])) for k, p in enumerate(truth))

    gap = expected(other) - expected(truth)
    square = float(np.square(truth - other).sum())
    # the Brier score loses exactly the squared distance, the logarithmic one at least half of it
    assert gap >= 0.5 * square - 1e-12
    if score is c.brier_score:
        assert gap == pytest.approx(square, abs=1e-12)


@pytest.mark.parametrize("score", [*CLASS_SCORES, *CLASS_ERRORS])
@given(seed=seeds, n=st.integers(8, 40), classes=st.integers(2, 5))
def test_order_of_points_and_names_of_classes(
    score: Callable[..., Tensor], seed: int, n: int, classes: int
) -> None:
    rng = np.random.default_rng(seed)
    y, p = rng.integers(0, classes, n), rng.dirichlet(np.ones(classes), n)
    bins = {} if score in CLASS_SCORES else {"n_bins": 4}
    want = float(score(y, p, **bins))
    order, names = rng.permutation(n), rng.permutation(classes)
    assert float(score(y[order], p[order], **bins)) == pytest.approx(want, abs=1e-12)
    renamed = float(score(np.argsort(names)[y], p[:, names], **bins))
    assert renamed == pytest.approx(want, abs=1e-12)
    upper = {c.brier_score: 2, c.log_score: math.inf}.get(score, 1)
    lower = -1 if score is c.debiased_squared_calibration_error else 0
    assert lower <= want <= upper


@pytest.mark.parametrize("error", CLASS_ERRORS[:3])
def test_calibrated_classes_score_less_than_overconfident_ones(
    error: Callable[..., Tensor],
) -> None:
    generator = seeded_generator(0)
    logits = torch.randn(4000, 4, generator=generator, dtype=torch.float64)
    p = logits.softmax(1)
    y = torch.multinomial(p, 1, generator=generator).squeeze(1)
    assert float(error(y, p)) < 0.04
    assert float(error(y, (3 * logits).softmax(1))) > 2 * float(error(y, p))


@pytest.mark.parametrize("score", [*CLASS_SCORES, *CLASS_ERRORS])
def test_device_and_dtype_follow_the_probabilities(
    score: Callable[..., Tensor], device: str
) -> None:
    p = torch.tensor([[0.5, 0.5], [0.25, 0.75]] * 20, device=device)
    found = score(np.array([0, 1] * 20), p)
    assert (found.device.type, found.dtype, found.shape) == (device, torch.float32, ())


@each_forecast
def test_device_follows_y(case: Forecast, device: str) -> None:
    y, mean, std = (t.to(device) for t in points(0))
    assert case.score(y, mean, std).device.type == device


BAD_STD = {
    "nll_gaussian": lambda s: c.nll_gaussian([0.0], [0.0], s),
    "crps_gaussian": lambda s: c.crps_gaussian([0.0], [0.0], s),
    "nll_gaussian_mixture": lambda s: c.nll_gaussian_mixture([0.0], [[0.0]], s),
    "crps_gaussian_mixture": lambda s: c.crps_gaussian_mixture([0.0], [[0.0]], s),
    "pit_gaussian": lambda s: c.pit_gaussian([0.0], [0.0], s),
    "pit_gaussian_mixture": lambda s: c.pit_gaussian_mixture([0.0], [[0.0]], s),
    "sharpness": c.sharpness,
}


@pytest.mark.parametrize("name", BAD_STD)
@pytest.mark.parametrize("std", [-1.0, math.nan, math.inf, [[1.0, -1.0]], "wide", 1j, None])
def test_deviations_that_are_none_are_refused(name: str, std: object) -> None:
    with pytest.raises(ValueError, match=r"^stds?: expected"):
        BAD_STD[name](std)
