"""Methods on toys whose answer is known, and the choice of their settings."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bayesnn.kernels import ntk
from benchmarks.flight_delays.dropout import dropped
from benchmarks.flight_delays.laws import Student
from benchmarks.flight_delays.method import (
    MOST_CANDIDATES,
    Budget,
    Predict,
    Problem,
    Settings,
    choose,
)
from benchmarks.flight_delays.methods import BASE, FAMILY, METHODS, SAME_PRIOR, SINGLE
from benchmarks.flight_delays.mixture import Mixture
from benchmarks.flight_delays.noise import DEGREES, FREE, HELD, PRIORS, as_mixture, noise_loss
from benchmarks.flight_delays.plain_ensemble import PLAIN
from benchmarks.flight_delays.prior import (
    FURTHEST,
    Prior,
    fit_prior,
    random_rows,
)

PEERS = {"CatBoost": "catboost", "sparse GP, ARD": "gpytorch"}
PRIOR = Prior(
    input_scales=(1.5, 1.0, *[0.1] * 6), readout_std=1.5, noise_std=0.6, log_evidence=-1.0, rows=9
)
TOYS = {name: {"rate": 1.0, "steps": 1.0} for name in (SINGLE, BASE)}  # for width 32
ALONE = ("exact NTKGP, subset", "sparse GP, ARD")  # one Gaussian of constant noise


def _problem(n: int = 400, *, seed: int = 0, **budget: Any) -> Problem:
    """Return y = sin 2x₀ + noise that is 0.1 where x₁ < 0 and 1 elsewhere."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(n, 8, generator=generator, dtype=torch.float64)
    noise = torch.where(x[:, 1] < 0, 0.1, 1.0) * torch.randn(
        n, generator=generator, dtype=torch.float64
    )
    settings: dict[str, Any] = {
        "members": 2, "draws": 20, "steps": 240, "batch_size": 100, "width": 32, "subset": 80,
        "inducing": 40, "trees": 120,
    }  # fmt: skip
    return Problem(
        x=x, y=(2 * x[:, 0]).sin() + noise, seed=seed,
        priors=dict.fromkeys(PRIORS, PRIOR),
        budget=Budget(**(settings | budget)),
    )  # fmt: skip


def _needs(name: str) -> None:
    if name in PEERS and importlib.util.find_spec(PEERS[name]) is None:
        pytest.skip(f"{PEERS[name]} is not installed")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_the_mean_and_those_that_can_the_noise(name: str) -> None:
    _needs(name)
    method = METHODS[name]
    settings = TOYS.get(name, method.candidates[-1])  # all steps, or the prior's own weight
    predict = method.fit(_problem(1500, steps=900, subset=200), settings)
    at = torch.zeros(300, 8, dtype=torch.float64)
    at[:, 0] = torch.linspace(-1.5, 1.5, 300, dtype=torch.float64)
    at[:, 1] = torch.tensor([-1.0, 1.0], dtype=torch.float64).repeat(150)
    found = predict(at)
    truth = (2 * at[:, 0]).sin()
    assert found.mean.shape == (300,)
    assert found.mean.dtype == torch.float64
    error = float((found.mean - truth).square().mean().sqrt())
    assert error < 0.3  # 0.72 if nothing is learnt
    if name in ALONE:
        assert len(found.means) == 1
        assert bool((found.epistemic_variance > 0).all())
        assert bool((found.variance > found.epistemic_variance).all())
    else:
        small, large = (float(found.stds[:, i::2].mean()) for i in (0, 1))
        assert large > 1.5 * small


@pytest.mark.parametrize("name", METHODS)
def test_budgets_are_alike_and_seeds_count(name: str) -> None:
    _needs(name)
    method = METHODS[name]
    assert 1 <= len(method.candidates) <= MOST_CANDIDATES
    assert len({repr(one) for one in method.candidates}) == len(method.candidates)
    assert method.name == name
    x = _problem(60).x[:5]
    small = {"steps": 2, "trees": 30}
    first, second = (
        method.fit(_problem(120, seed=seed, **small), method.candidates[-1])(x) for seed in (0, 1)
    )
    assert not torch.equal(first.means, second.means)
    again = method.fit(_problem(120, **small), method.candidates[-1])(x)
    assert torch.equal(again.means, first.means)
    assert torch.equal(again.stds, first.stds)
    wanted = {"single network": 1, "MC dropout": 20, "mean field": 20, "CatBoost": 3}
    wanted |= {"exact NTKGP, subset": 1, "sparse GP, ARD": 1}
    assert len(first.means) == wanted.get(name, 2)


def test_networks_have_the_same_candidates_but_for_what_holds_them() -> None:
    wanted = {SINGLE: PLAIN, BASE: PLAIN, SAME_PRIOR: FREE}
    for name in METHODS.keys() - {*ALONE, "CatBoost"}:
        assert METHODS[name].candidates is wanted.get(name, HELD)
    assert {BASE, SAME_PRIOR, *FAMILY} <= METHODS.keys()
    assert len(PLAIN) == len(FREE) == len(HELD) == MOST_CANDIDATES  # baselines have no fewer
    assert PLAIN[-1]["steps"] == FREE[-1]["steps"] == 1.0


def test_plain_ensembles_know_no_prior() -> None:
    """Their features are not scaled by it, so another prior changes nothing; it does ours."""
    problem = _problem(60, steps=5)
    other = dataclasses.replace(PRIOR, input_scales=(0.2,) * 8, readout_std=0.5, noise_std=0.9)
    elsewhere = dataclasses.replace(problem, priors=dict.fromkeys(PRIORS, other))
    for name, settings in ((BASE, PLAIN[-1]), (SAME_PRIOR, FREE[-1])):
        first, second = (
            METHODS[name].fit(given, settings)(problem.x[:4]) for given in (problem, elsewhere)
        )
        assert torch.equal(first.means, second.means) is (name == BASE)
    assert not {"prior_rows"} & set(METHODS[BASE].spends)


def test_learning_rates_and_shares_of_steps_count() -> None:
    problem = _problem(60, steps=10)
    means = [METHODS[BASE].fit(problem, settings)(problem.x[:4]).means for settings in PLAIN]
    assert len({tuple(one.flatten().tolist()) for one in means}) == len(PLAIN)


@pytest.mark.parametrize("name", ["anchored", "NTKGP-param", "MC dropout", "mean field"])
def test_a_heavier_prior_holds_functions_nearer(name: str) -> None:
    """With 30 rows and a prior far heavier than the data, what is learnt is the prior."""
    problem = _problem(30, steps=400, batch_size=30)
    found = [
        METHODS[name].fit(problem, {"prior": "likeliest", "weight": weight})(problem.x)
        for weight in (0.01, 100.0)
    ]
    errors = [float((one.mean - problem.y).square().mean()) for one in found]
    assert errors[0] < 0.6 * errors[1]


def test_exact_subset_is_the_closed_form() -> None:
    problem = _problem(120)
    found = METHODS["exact NTKGP, subset"].fit(problem, {"prior": "likeliest"})(problem.x[:7])
    rows = random_rows(120, 80, seed=0)
    kernel = ntk(PRIOR.network(outputs=1, width=2, depth=2, seed=0))
    x = problem.x * torch.tensor(PRIOR.input_scales, dtype=torch.float64)
    noisy = kernel(x[rows]) + 0.36 * torch.eye(80, dtype=torch.float64)
    cross = kernel(x[:7], x[rows])
    torch.testing.assert_close(found.mean, cross @ torch.linalg.solve(noisy, problem.y[rows]))
    variance = kernel(x[:7]).diag() - (cross * torch.linalg.solve(noisy, cross.T).T).sum(1)
    torch.testing.assert_close(found.epistemic_variance, variance)
    torch.testing.assert_close(found.variance, variance + 0.36)


def test_dropout_loses_units_at_its_rate_and_keeps_the_mean() -> None:
    module = PRIOR.network(outputs=2, width=2000, depth=1, seed=0)
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    layers = list(module.children())
    hidden = layers[1](layers[0](x))
    seen: list[Tensor] = []
    handle = layers[2].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        dropped(module, x, 0.2, torch.Generator().manual_seed(1))
    handle.remove()
    lost = seen[0] == 0
    assert abs(float(lost.double().mean()) - 0.2) < 0.02
    torch.testing.assert_close(seen[0][~lost], (hidden / 0.8)[~lost])
    assert not torch.equal(lost[0], lost[1])  # of each row apart
    with torch.no_grad():
        torch.testing.assert_close(dropped(module, x, 0.0, torch.Generator()), module(x))


def test_mixture_of_outputs_has_the_variance_of_the_loss() -> None:
    prior = dataclasses.replace(PRIOR, noise_std=0.4, readout_std=10.0)
    values = torch.tensor([[[1.0, 0.0], [2.0, 30.0]]])
    found = as_mixture(values, noise_loss(prior))
    assert found.means.tolist() == [[1.0, 2.0]]
    expected = [0.4, 0.4 * math.exp(6 * math.tanh(30 / 10 / 6) / 2)]
    assert found.stds[0].tolist() == pytest.approx(expected, rel=1e-6)
    assert found.law == Student(DEGREES)


def test_prior_is_of_largest_marginal_likelihood_of_delays_drawn_in() -> None:
    problem = _problem(90)
    y = problem.y.clone()
    y[3] = 40.0
    found = fit_prior(problem.x, y, depth=1, rows=60, device="cpu", seed=0)
    rows, drawn_in = random_rows(90, 60, seed=0), y.clamp(-FURTHEST, FURTHEST)
    lost = float(y.var(correction=0) - drawn_in.var(correction=0))

    def evidence(prior: Prior, noise: float) -> float:
        x = problem.x[rows] * torch.tensor(prior.input_scales, dtype=torch.float64)
        kernel = ntk(prior.network(outputs=1, width=2, depth=1, seed=0))
        law = torch.distributions.MultivariateNormal(
            torch.zeros(60, dtype=torch.float64),
            kernel(x) + noise**2 * torch.eye(60, dtype=torch.float64),
        )
        return float(law.log_prob(drawn_in[rows])) / 60

    noise = math.sqrt(found.noise_std**2 - lost)
    best = evidence(found, noise)
    assert found.rows == 60
    assert found.log_evidence == pytest.approx(best, abs=1e-6)
    smaller = found.smaller()
    assert smaller.readout_std == pytest.approx(0.4 * found.readout_std)
    assert dataclasses.replace(smaller, readout_std=found.readout_std) == found
    for factor in (0.8, 1.25):
        scales = tuple(factor * scale for scale in found.input_scales)
        readout = factor * found.readout_std
        assert evidence(dataclasses.replace(found, input_scales=scales), noise) < best + 1e-4
        assert evidence(dataclasses.replace(found, readout_std=readout), noise) < best + 1e-4
        assert evidence(found, factor * noise) < best + 1e-4


def test_hidden_layers_of_the_prior_are_standard_and_inputs_scaled() -> None:
    network = PRIOR.network(outputs=2, width=20_000, depth=1, seed=0)
    first, _, last = network.children()
    assert (first.weight_std, first.bias_std) == (1.0, 1.0)
    assert (last.weight_std, last.bias_std) == (PRIOR.readout_std, 1.0)
    x = torch.ones(1, 8)
    assert PRIOR.inputs(x)[0].tolist() == pytest.approx(PRIOR.input_scales)
    hidden = first(PRIOR.inputs(x)).detach()
    expected = 1 + sum(scale**2 for scale in PRIOR.input_scales) / 8
    assert float(hidden.var()) == pytest.approx(expected, rel=0.05)
    torch.testing.assert_close(
        PRIOR.network(outputs=2, width=4, depth=2, seed=5)(x),
        PRIOR.network(outputs=2, width=4, depth=2, seed=5)(x),
    )


def test_random_rows_are_few_or_all_and_seeded() -> None:
    assert random_rows(5, 9, seed=0).tolist() == [0, 1, 2, 3, 4]
    some = random_rows(1000, 20, seed=0)
    assert len(set(some.tolist())) == 20
    assert not torch.equal(some, random_rows(1000, 20, seed=1))


def test_steps_are_a_share_of_the_budgets() -> None:
    problem = _problem(250, steps=10, batch_size=100)
    assert problem.steps() == 10
    assert problem.steps(0.25) == 3  # 2.5, rounded up
    assert problem.steps(1e-6) == 1
    assert problem.batch_size == 100
    assert _problem(50, batch_size=100).batch_size == 50


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Constant:
    """Predicts N(settings["mean"], 1), or fails."""

    name: str = "constant"
    spends: tuple[str, ...] = ()
    candidates: tuple[Settings, ...] = ()

    def fit(self, problem: Problem, settings: Settings) -> Predict:
        if settings["mean"] is None:
            raise RuntimeError("no such mean")

        def predict(x: Tensor) -> Mixture:
            means = torch.full((1, len(x)), float(settings["mean"]), dtype=torch.float64)
            return Mixture(means=means, stds=torch.ones_like(means))

        return predict


def test_choice_is_of_least_validation_nll_and_failures_are_told() -> None:
    problem = _problem(20)
    method = _Constant(candidates=tuple({"mean": m} for m in (None, 5.0, 2.0, math.inf)))
    y = torch.full((10,), 2.5, dtype=torch.float64)
    found = choose(method, problem, problem.x[:10], y)
    assert found.settings == {"mean": 2.0}
    assert found.validation_nll == pytest.approx(0.5 * math.log(2 * math.pi) + 0.125)
    assert found.predict(problem.x[:1]).mean.tolist() == [2.0]
    assert [why for *_, why in found.tried] == ["RuntimeError: no such mean", "", "", ""]
    assert np.isfinite(found.seconds)


def test_no_method_may_try_more_than_others_or_nothing() -> None:
    problem, y = _problem(20), torch.zeros(20, dtype=torch.float64)
    for count in (0, MOST_CANDIDATES + 1):
        method = _Constant(candidates=tuple({"mean": float(i)} for i in range(count)))
        with pytest.raises(ValueError, match=f"expected 1 to 4 candidate settings.*got {count}"):
            choose(method, problem, problem.x, y)
    with pytest.raises(ValueError, match="no candidate has a finite validation NLL"):
        choose(_Constant(candidates=({"mean": None},)), problem, problem.x, y)
