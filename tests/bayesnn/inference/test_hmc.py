import sys

import pytest
import torch
from torch import Tensor

from bayesnn.inference.chain_diagnostics import bulk_ess, split_r_hat
from bayesnn.inference.hmc import Chain, Kernel, no_u_turn, random_length
from bayesnn.inference.parameter_vector import ParameterVector

# many small steps: checks of shapes would take as long as the steps; other tests have them
unchecked = pytest.mark.usefixtures("as_users_run")
both_kernels = pytest.mark.parametrize("kernel", [no_u_turn, random_length])

N = 6
MEAN = torch.linspace(-2, 3, N, dtype=torch.float64)


def precision() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    q = torch.linalg.qr(torch.randn(N, N, generator=generator, dtype=torch.float64)).Q
    return (q * torch.logspace(-0.6, 0.4, N, dtype=torch.float64)) @ q.T


def gaussian(x: Tensor) -> Tensor:
    return (x - MEAN) @ precision() @ (x - MEAN) / 2


def chain(kernel: Kernel, *, seed: int = 0, warm_up: int = 40) -> Chain:
    return Chain(
        gaussian, torch.zeros(N, dtype=torch.float64), warm_up=warm_up, seed=seed, kernel=kernel
    )


@unchecked
@both_kernels
def test_draws_have_the_moments_of_the_density(kernel):
    chains = []
    for seed in range(2):
        one = chain(kernel, seed=seed, warm_up=70)
        for _ in range(70):
            one.move()
        chains.append(torch.stack([one.move() for _ in range(70)]))
        assert one.n_divergent == 0
        assert 0.6 < one.acceptance <= 1
    draws = torch.stack(chains)
    covariance = torch.linalg.inv(precision())
    size = float(bulk_ess(draws).min())
    assert size > 40
    assert float(split_r_hat(draws).max()) < 1.1
    std = covariance.diagonal().sqrt()
    # 4.5 standard errors of a mean, and of a standard deviation
    flat = draws.flatten(0, 1)
    assert bool(((flat.mean(0) - MEAN).abs() < 4.5 * std / size**0.5).all())
    assert bool(((flat.std(0) / std - 1).abs() < 4.5 / (2 * size) ** 0.5).all())


@unchecked
@both_kernels
@pytest.mark.parametrize("cut", [3, 13, 23])  # within each window of the warm-up, and after
def test_a_chain_that_was_stopped_goes_on_to_the_same_numbers(kernel, cut):
    whole = chain(kernel, warm_up=20)
    positions = [whole.move() for _ in range(28)]
    first = chain(kernel, warm_up=20)
    for _ in range(cut):
        first.move()
    saved = {name: value.clone() for name, value in first.state().items()}
    first.move()  # what is saved does not change any more
    second = chain(kernel, warm_up=20)
    second.restore(saved)
    rest = [second.move() for _ in range(28 - cut)]
    assert all(torch.equal(a, b) for a, b in zip(positions[cut:], rest, strict=True))
    end = whole.state()
    assert all(torch.equal(value, end[name]) for name, value in second.state().items())
    assert (second.n_evaluations, second.acceptance) == (whole.n_evaluations, whole.acceptance)


@both_kernels
def test_seeds_decide_and_global_generators_stay(kernel):
    def position(seed: int) -> Tensor:
        one = chain(kernel, seed=seed)
        return [one.move() for _ in range(6)][-1]

    before = torch.get_rng_state()
    torch.rand(1)
    first = position(0)
    torch.set_rng_state(before)
    again, other = position(0), position(1)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_chains_leave_nothing_behind_in_pyro():
    import pyro
    from pyro.distributions import Distribution

    store = set(pyro.get_param_store().keys())
    checks = pyro.distributions.Normal._validate_args
    chain(no_u_turn).move()
    assert set(pyro.get_param_store().keys()) == store
    assert pyro.distributions.Normal._validate_args is checks
    assert issubclass(pyro.distributions.Normal, Distribution)


def test_trajectories_take_no_more_leapfrogs_than_allowed():
    for kernel, limit in ((no_u_turn, 7), (random_length, 5)):
        one = Chain(
            gaussian,
            torch.zeros(N, dtype=torch.float64),
            warm_up=10,
            seed=0,
            kernel=kernel,
            max_leapfrogs=limit,
            target_acceptance=0.999,
        )
        for _ in range(30):
            before = one.n_evaluations
            one.move()
            if one.n_transitions != 9:  # where Pyro looks for a new step size
                assert one.n_evaluations - before <= limit


def test_energies_that_do_not_hold_are_counted():
    # beyond a wall the energy is no number any more
    one = Chain(
        lambda x: torch.where(x.abs() < 1, x.square(), torch.nan).sum(),
        torch.zeros(1, dtype=torch.float64),
        warm_up=1,
        seed=0,
    )
    positions = torch.stack([one.move() for _ in range(40)])
    assert one.n_divergent > 0
    assert float(positions.abs().max()) < 1


def test_a_start_without_energy_is_refused():
    with pytest.raises(ValueError, match="finite potential"):
        Chain(lambda x: (x / 0).sum(), torch.zeros(2), warm_up=5, seed=0)


def test_a_missing_pyro_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "pyro"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match="pyro-ppl"):
        chain(no_u_turn)


def test_parameters_go_into_a_vector_and_back():
    params = {"b": torch.randn(3), "w": torch.randn(2, 4), "scalar": torch.randn(())}
    layout = ParameterVector.of(params)
    vector = layout.join(params)
    assert vector.shape == (12,)
    back = layout.split(vector)
    assert list(back) == list(params)
    assert all(torch.equal(back[name], value) for name, value in params.items())
