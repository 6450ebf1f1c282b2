import sys

import pytest
import torch
from torch import Tensor

from bayesnn.inference.mc_dropout import Params, sample_moments
from bayesnn.inference.mean_field import MeanField, MeanFieldFit

# many small steps: checks of shapes would take as long as the steps; other tests have them
unchecked = pytest.mark.usefixtures("as_users_run")
PRIOR = {"w": 0.7, "b": 2.0}
X = torch.randn(15, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = X @ torch.tensor([1.0, -1.0, 0.5, 0.0], dtype=torch.float64) + 0.3
NOISE = 0.4


def energy(params: Params) -> Tensor:
    predicted = X @ params["w"] + params["b"]
    return ((predicted - Y) / NOISE).square().sum() / 2


def start() -> Params:
    return {"w": torch.zeros(4, dtype=torch.float64), "b": torch.zeros(1, dtype=torch.float64)}


def posterior_precision(kl_weight: float = 1.0) -> tuple[Tensor, Tensor]:
    design = torch.cat((X, torch.ones(15, 1, dtype=torch.float64)), 1) / NOISE
    prior = torch.tensor([PRIOR["w"]] * 4 + [PRIOR["b"]], dtype=torch.float64) ** -2
    precision = design.T @ design + kl_weight * torch.diag(prior)
    return precision, torch.linalg.solve(precision, design.T @ (Y / NOISE))


def fit(**settings: object) -> MeanFieldFit:
    one = MeanFieldFit(start(), prior_std=PRIOR, n_draws=20, seed=0, **settings)
    for step in range(200):
        one.step(energy, 0.1 * (1 - step / 200))
    return one


@unchecked
@pytest.mark.parametrize("kl_weight", [1.0, 3.0])
def test_the_optimum_for_a_gaussian_posterior_is_known(kl_weight):
    # of E[U] + κ KL: the mean of precision JᵀJ + κΛ, variances κ over its diagonal
    precision, mean = posterior_precision(kl_weight)
    q = fit(kl_weight=kl_weight).posterior()
    std = (kl_weight / precision.diagonal()).sqrt()
    found, spread = (torch.cat([p["w"], p["b"]]) for p in (q.mean, q.std))
    assert bool(((found - mean).abs() < 0.01 * std).all())
    assert torch.allclose(spread, std, rtol=0.05)
    # less than the marginal spread, because parameters are correlated
    marginal = (kl_weight * torch.linalg.inv(precision).diagonal()).sqrt()
    assert float((spread / marginal).mean()) < 0.98


@unchecked
def test_without_data_the_prior_comes_back():
    one = MeanFieldFit(start(), prior_std=PRIOR, initial_std=0.2, seed=0)
    for step in range(150):
        one.step(lambda params: 0 * params["w"].sum(), 0.1 * (1 - step / 150))
    for name, std in PRIOR.items():
        assert torch.allclose(one.posterior().std[name], torch.tensor(std).double(), rtol=1e-3)
        assert float(one.posterior().mean[name].abs().max()) < 1e-3


@unchecked
def test_the_loss_is_the_negative_evidence_bound():
    # at q = posterior of one parameter the bound is tight: −log ∫ exp(−U) p, the same for any draw
    prior, noise, y = 2.0, 0.5, 1.3
    variance = 1 / (prior**-2 + noise**-2)
    one = MeanFieldFit(
        {"x": torch.full((1,), variance * y / noise**2, dtype=torch.float64)},
        prior_std={"x": prior},
        initial_std=variance**0.5 / prior,
        seed=0,
    )
    losses = torch.tensor([
        one.step(lambda p: ((p["x"] - y) / noise).square().sum() / 2, 1e-12) for _ in range(200)
    ])
    total = torch.tensor(prior**2 + noise**2)
    evidence = y**2 / (2 * total) + total.log() / 2 - torch.tensor(noise).log()
    assert float(losses.mean()) == pytest.approx(
        float(evidence), abs=4.5 * float(losses.std()) / 200**0.5
    )


@pytest.mark.parametrize("cut", [0, 1, 17])
def test_a_fit_that_was_stopped_goes_on_to_the_same_numbers(cut):
    whole, first, second = (MeanFieldFit(start(), prior_std=PRIOR, seed=3) for _ in range(3))
    losses = [float(whole.step(energy, 0.02)) for _ in range(30)]
    for _ in range(cut):
        first.step(energy, 0.02)
    saved = {name: value.clone() for name, value in first.state().items()}
    second.restore(saved)
    assert second.n_steps == cut
    assert [float(second.step(energy, 0.02)) for _ in range(30 - cut)] == losses[cut:]
    for name in PRIOR:
        assert torch.equal(second.posterior().std[name], whole.posterior().std[name])


def test_seeds_decide_and_nothing_global_changes():
    import pyro

    before, store = torch.get_rng_state(), set(pyro.get_param_store().keys())

    def loss(seed: int) -> float:
        torch.rand(1)
        return float(MeanFieldFit(start(), prior_std=PRIOR, seed=seed).step(energy, 0.1))

    first, again, other = loss(0), loss(0), loss(1)
    assert first == again != other
    torch.set_rng_state(before)
    MeanFieldFit(start(), prior_std=PRIOR, seed=0).step(energy, 0.1)
    assert torch.equal(torch.get_rng_state(), before)
    assert set(pyro.get_param_store().keys()) == store


def test_draws_have_the_moments_of_q_and_depend_on_their_number_only():
    q = MeanField(mean={"a": torch.tensor([1.0, -3.0])}, std={"a": torch.tensor([0.5, 2.0])})
    moments = sample_moments(q.draw_functions(lambda p: p["a"], seed=0), n_samples=3000)
    assert torch.allclose(moments.mean, q.mean["a"], atol=0.15)
    assert torch.allclose(moments.std, q.std["a"], rtol=0.06)
    third = list(zip(range(3), q.draw_functions(lambda p: p["a"], seed=0), strict=False))[2][1]
    draws = q.draw_functions(lambda p: p["a"], seed=0)
    assert torch.equal([next(draws) for _ in range(3)][2], third)


@pytest.mark.parametrize("wrong", [{"initial_std": 0.0}, {"kl_weight": -1.0}], ids=str)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MeanFieldFit(start(), prior_std=PRIOR, seed=0, **wrong)


def test_a_missing_pyro_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "pyro"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match="pyro-ppl"):
        MeanFieldFit(start(), prior_std=PRIOR, seed=0)
