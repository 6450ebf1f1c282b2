import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bayesnn.inference.chain_diagnostics import bulk_ess, split_r_hat, tail_ess
from tests.reference.naive_chain_diagnostics import naive_bulk_ess, naive_r_hat, naive_tail_ess


def autoregressive(chains: int, draws: int, phi: float, seed: int, *shape: int) -> torch.Tensor:
    """Stationary chains of variance 1 / (1 − φ²), whose draws t apart correlate by φ^t."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(draws, chains, *shape, generator=generator, dtype=torch.float64)
    values = [noise[0] / math.sqrt(1 - phi**2)]
    for innovation in noise[1:]:
        values.append(phi * values[-1] + innovation)
    return torch.stack(values, 1)


@given(
    chains=st.integers(1, 5),
    draws=st.integers(4, 60),
    phi=st.floats(-0.8, 0.95),
    apart=st.sampled_from([0.0, 1.0]),
    rounded=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_fast_versions_are_the_naive_ones(chains, draws, phi, apart, rounded, seed):
    values = autoregressive(chains, draws, phi, seed, 2)
    values = values + apart * torch.arange(chains)[:, None, None]
    if rounded:  # equal values, as after refused proposals
        values = values.round()
    fast = torch.stack([split_r_hat(values), bulk_ess(values), tail_ess(values)])
    for place in range(2):
        one = values[:, :, place].numpy()
        if one.std() == 0:
            continue
        assert float(fast[1, place]) == pytest.approx(naive_bulk_ess(one), rel=1e-8)
        assert float(fast[2, place]) == pytest.approx(naive_tail_ess(one), rel=1e-8)
        with np.errstate(divide="ignore"):  # halves may not move: infinite
            assert float(fast[0, place]) == pytest.approx(naive_r_hat(one), rel=1e-8)


@pytest.mark.parametrize("phi", [-0.5, 0.0, 0.6, 0.9])
def test_the_size_of_an_autoregressive_chain_is_known(phi):
    chains, draws = 4, 1000
    values = autoregressive(chains, draws, phi, 1, 100)
    # τ = (1 + φ) / (1 − φ)
    expected = chains * draws * (1 - phi) / (1 + phi)
    assert float(bulk_ess(values).mean()) == pytest.approx(expected, rel=0.07)
    assert float(split_r_hat(values).mean()) == pytest.approx(1, abs=0.03)


def test_a_shift_of_one_chain_and_a_wider_one_are_both_seen():
    values = autoregressive(4, 1000, 0.0, 2)
    shifted, wider = values.clone(), values.clone()
    shifted[0] += 1
    wider[0] *= 3
    for wrong in (shifted, wider):
        assert float(split_r_hat(wrong)) > 1.05
        assert float(split_r_hat(values)) < 1.01


def test_a_trend_within_a_chain_is_seen():
    values = autoregressive(1, 1000, 0.0, 3) + torch.linspace(0, 3, 1000)
    assert float(split_r_hat(values)) > 1.2


def test_plain_split_r_hat_agrees_with_pyros_on_normal_draws():
    from pyro.ops.stats import split_gelman_rubin

    values = autoregressive(4, 500, 0.8, 4, 20) + 0.3 * torch.arange(4)[:, None, None]
    # ranks change little of normal draws, folding nothing of their width
    assert torch.allclose(split_r_hat(values), split_gelman_rubin(values), rtol=0.02)


def test_diagnostics_do_not_depend_on_monotone_scales():
    values = autoregressive(3, 200, 0.5, 5, 4)
    assert torch.equal(bulk_ess(values), bulk_ess(values.exp()))
    assert torch.allclose(split_r_hat(values), split_r_hat(7 * values - 1e3), rtol=1e-9)


def test_chains_that_never_move_are_no_draws():
    values = torch.ones(3, 20, 2)
    assert bool(split_r_hat(values).isinf().all())
    assert bool((bulk_ess(values) == 0).all())
    assert bool((tail_ess(values) == 0).all())


@pytest.mark.parametrize("diagnostic", [split_r_hat, bulk_ess, tail_ess])
def test_three_draws_are_too_few(diagnostic):
    with pytest.raises(ValueError, match="at least 4"):
        diagnostic(torch.zeros(2, 3))
