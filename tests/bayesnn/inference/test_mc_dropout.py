import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bayesnn.inference.mc_dropout import UnitDropout, draw_functions, sample_moments


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(rate=st.floats(0, 0.95))
def test_masks_keep_the_stated_share_and_the_mean(rate):
    n = 20_000
    drawn = UnitDropout(units={"w": (0,)}, rate=rate).draw(
        {"w": torch.ones(n, dtype=torch.float64)}, generator=_generator()
    )["w"]
    kept = drawn[drawn != 0]
    assert torch.allclose(kept, torch.full_like(kept, 1 / (1 - rate)))
    # five standard deviations of a binomial share, and the masks' resolution
    allowed = 5 * (rate * (1 - rate) / n) ** 0.5 + 2e-5
    assert abs(1 - len(kept) / n - rate) <= allowed


def test_entries_share_a_mask_across_all_axes_but_the_units():
    params = {"w": torch.ones(5, 400), "b": torch.ones(7)}
    drawn = UnitDropout(units={"w": (1,)}, rate=0.5).draw(params, generator=_generator())
    assert torch.equal(drawn["b"], params["b"])
    assert torch.equal(drawn["w"], drawn["w"][:1].expand(5, 400))
    assert 0 < int((drawn["w"][0] == 0).sum()) < 400


def test_each_entry_is_a_unit_where_all_axes_are_named():
    drawn = UnitDropout(units={"w": (0, 1)}, rate=0.5).draw(
        {"w": torch.ones(40, 40)}, generator=_generator()
    )["w"]
    # all pairs of rows differ, and so do columns
    assert len(torch.unique(drawn, dim=0)) == len(torch.unique(drawn, dim=1)) == 40


def test_gradients_reach_kept_units_only():
    w = torch.ones(100, requires_grad=True)
    dropout = UnitDropout(units={"w": (0,)}, rate=0.4)
    drawn = dropout.draw({"w": w}, generator=_generator())["w"]
    drawn.sum().backward()
    assert w.grad is not None
    assert torch.equal(w.grad, drawn.detach())


def test_a_rate_of_zero_changes_nothing():
    w = torch.randn(10, generator=_generator())
    assert UnitDropout(units={"w": (0,)}, rate=0).draw({"w": w}, generator=_generator())["w"] is w


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(ValueError, match="below 1"):
        UnitDropout(units={}, rate=rate)


@given(n=st.integers(2, 40), offset=st.sampled_from([0.0, 1e6]), seed=st.integers(0, 9))
def test_moments_are_those_of_the_stacked_samples(n, offset, seed):
    samples = offset + torch.randn(n, 3, 4, generator=_generator(seed), dtype=torch.float64)
    moments = sample_moments(iter(samples), n_samples=n, keep_samples=True)
    assert torch.allclose(moments.mean, samples.mean(0), rtol=1e-12)
    assert torch.allclose(moments.std, samples.std(0), rtol=1e-6)
    assert moments.samples is not None
    assert torch.equal(moments.samples, samples)


def test_large_means_cost_no_digits_in_single_precision():
    deviations = torch.randn(50, 200, generator=_generator())
    moments = sample_moments(iter(1e4 + deviations), n_samples=50)
    assert torch.allclose(moments.std, deviations.std(0), rtol=5e-3)
    assert moments.samples is None


def test_one_sample_has_no_spread():
    with pytest.raises(ValueError, match="n_samples"):
        sample_moments(iter(torch.zeros(1, 2)), n_samples=1)


def test_functions_depend_on_the_seed_and_their_number_only():
    before = torch.get_rng_state()
    params = {"w": torch.ones(64)}
    dropout = UnitDropout(units={"w": (0,)}, rate=0.5)

    def draws(n: int, seed: int) -> list[torch.Tensor]:
        functions = draw_functions(lambda p: p["w"], params, dropout, seed=seed)
        return [next(functions) for _ in range(n)]

    few, many, other = draws(2, 0), draws(5, 0), draws(2, 1)
    assert all(torch.equal(a, b) for a, b in zip(few, many, strict=False))
    assert not torch.equal(few[0], few[1])
    assert not torch.equal(few[0], other[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_samples_of_a_linear_function_have_the_variance_of_dropout():
    # Var Σ θ_i z_i = Σ θ_i² rate / (1 − rate), with independent units
    weights = torch.linspace(0.1, 2.0, 50, dtype=torch.float64)
    dropout = UnitDropout(units={"w": (0,)}, rate=0.3)
    functions = draw_functions(lambda p: p["w"].sum(), {"w": weights}, dropout, seed=3)
    moments = sample_moments(functions, n_samples=2000)
    expected = (weights.square().sum() * 0.3 / 0.7).sqrt()
    assert torch.allclose(moments.mean, weights.sum(), atol=5 * float(expected) / 2000**0.5)
    assert torch.allclose(moments.std, expected, rtol=0.08)
