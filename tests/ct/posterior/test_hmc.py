import dataclasses
import math

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

import ct
from bayesnn.inference.hmc import no_u_turn, random_length
from ct.checkpoint import Forgetful
from ct.classical.total_variation import isotropic_tv
from ct.inr.feature_grid import FeatureGrid
from ct.inr.fourier_network import FourierNetwork
from ct.inr.pixel_grid import PixelGrid
from ct.posterior.chain_coordinates import prior_coordinates, spectral_coordinates
from ct.posterior.chain_fits import fit_members
from ct.posterior.hmc_chains import TV_SMOOTHING, image_potential
from ct.posterior.image_model import image_model
from ct.posterior.training import Descent
from tests.ct.posterior.memory_checkpoint import InterruptionError, MemoryCheckpoint
from tests.reference.gaussian_scan import GaussianScan

# many small steps: checks of shapes would take as long as the steps; other tests have them
unchecked = pytest.mark.usefixtures("as_users_run")
SMALL = FeatureGrid(coarsest=5, channels=2, width=8)
SCAN = GaussianScan()
SHORT = {
    "n_chains": 2,
    "warm_up": 5,
    "samples_per_chain": 2,
    "thinning": 2,
    "max_leapfrogs": 1,
    "steps": 4,
    "held_out": 0,
}


def reconstruct(method: ct.problem.Method, *, seed: int = 0) -> ct.Reconstruction:
    return ct.reconstruct(
        SCAN.sinogram, SCAN.scan, SCAN.grid, method=method, noise_std=SCAN.noise_std, seed=seed
    )


def agrees_with_the_exact_posterior(method: ct.problem.Method, precision: float) -> None:
    result = reconstruct(method)
    known = SCAN.posterior(SCAN.pixel_prior(precision))
    numbers = result.metadata["diagnostics"][0]
    assert numbers["n_divergent"] == 0
    assert numbers["r_hat_median"] < 1.05
    size = numbers["ess_bulk_min"]
    error = ((result.mean - known.mean) / known.std).abs()
    assert float(error.max()) < 4.5 / math.sqrt(size)
    assert float(error.square().mean()) < 2 / size
    ratio = result.std / known.std
    assert float((ratio - 1).abs().max()) < 4.5 / math.sqrt(2 * size)
    assert float(ratio.square().mean()) == pytest.approx(1, abs=2.5 / math.sqrt(2 * size))
    # joint samples: whitened by the exact covariance, neighbours are not correlated any more
    white = known.whitened(result.samples)
    assert float(white.square().mean()) == pytest.approx(1, abs=0.1)


# short chains of a more certain one: tests/contracts/test_ct_known_posteriors.py
@unchecked
@pytest.mark.slow
@pytest.mark.parametrize("kernel", [no_u_turn, random_length])
def test_long_chains_sample_a_less_certain_posterior(kernel):
    method = ct.hmc(
        kernel=kernel,
        n_chains=2,
        warm_up=150,
        samples_per_chain=150,
        max_leapfrogs=63,
        tv_share=0,
        prior_precision=10.0,
        held_out=0,
    )
    agrees_with_the_exact_posterior(method, 10.0)


@pytest.mark.parametrize("network", [SMALL, PixelGrid()], ids=["grid", "pixels"])
def test_the_potential_is_what_the_docstring_says_in_any_coordinates(network):
    model = image_model(SCAN.problem, network, seed=1)
    params = model.initial_params()
    tau, weight = 2.5, 7.0
    image = model.render(params)
    fan_in = model.network.prior_fan_in
    prior = sum(
        tau / 2 * fan_in.get(name, 1) * float(value.square().sum())
        for name, value in params.items()
    )
    expected = (
        float(model.misfit(image)) + prior + weight * float(isotropic_tv(image, TV_SMOOTHING))
    )
    kinds = [prior_coordinates(model, precision=tau)]
    if isinstance(network, PixelGrid):
        kinds.append(spectral_coordinates(model, precision=tau, tv_weight=weight))
    for coordinates in kinds:
        u = coordinates.vector(params)
        back = coordinates.params(u)
        assert all(torch.allclose(back[name], value) for name, value in params.items())
        potential = image_potential(model, coordinates, precision=tau, tv_weight=weight)
        assert float(potential(u)) == pytest.approx(expected, rel=1e-9)


def test_spectral_coordinates_even_out_the_spread():
    model = image_model(SCAN.problem, PixelGrid(), seed=0)
    n = SCAN.grid.shape[0] * SCAN.grid.shape[1]
    conditions = []
    for coordinates in (
        prior_coordinates(model, precision=1.0),
        spectral_coordinates(model, precision=1.0, tv_weight=5.0),
    ):
        jacobian = torch.stack([
            coordinates.params(one)["pixels"].flatten() for one in torch.eye(n).double()
        ])
        seen = model.problem.projector(jacobian.reshape(-1, *SCAN.grid.shape)).flatten(1)
        seen = seen / model.problem.noise_std.flatten()
        images = jacobian.reshape(-1, *SCAN.grid.shape)
        jumps = torch.cat([images.diff(dim=1).flatten(1), images.diff(dim=2).flatten(1)], 1)
        precision = seen @ seen.T + jacobian @ jacobian.T + 5.0**2 / 3 * jumps @ jumps.T
        conditions.append(float(torch.linalg.cond(precision)))
    assert conditions[1] < conditions[0] / 3


@unchecked
def test_networks_are_sampled_near_their_fits():
    method = ct.hmc(
        network=SMALL,
        kernel=random_length,
        n_chains=2,
        warm_up=50,
        samples_per_chain=6,
        max_leapfrogs=3,
        steps=150,
        tv_share=0,
        held_out=0,
    )
    result = reconstruct(method)
    numbers = result.metadata["diagnostics"][0]
    assert numbers["chi_squared_per_ray"] < 1.2
    assert numbers["n_divergent"] == 0
    assert numbers["acceptance"] > 0.4
    # 12 draws do not agree, and that is said
    assert numbers["r_hat_max"] > 1.2
    assert numbers["ess_bulk_min"] < 20


@unchecked
def test_fits_of_several_chains_are_fits_of_the_network_that_chains_share():
    # whose frequencies are drawn at random, and not sampled
    network = FourierNetwork(n_frequencies=30, width=16, depth=1, frequency_std=5.0)
    model = image_model(SCAN.problem, network, seed=0)
    others = [
        network.build(SCAN.grid.shape, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 2)
    ]
    reported: list[int] = []
    fits = fit_members(
        model, others, Descent(steps=200, learning_rate=0.02),
        report=reported.append, checkpoint=Forgetful(),
    )  # fmt: skip
    own, foreign = (
        [float(model.misfit(functional_call(one, params, ()))) for params in fits.params]
        for one in (model.network, others[0].to(SCAN.sinogram))
    )
    assert max(own) < 0.25 * min(foreign)
    assert (reported[-1], fits.tv_weight) == (400, 0.0)


@pytest.mark.parametrize("stop_after", [8, 30])
def test_an_interrupted_run_goes_on_to_the_same_numbers(stop_after):
    method = ct.hmc(**{**SHORT, "held_out": 0.2})
    problem = dataclasses.replace(SCAN.problem, keep_samples=True)
    whole = method.solve(problem, seed=3)
    memory = MemoryCheckpoint(stop_after=stop_after)
    interrupted = dataclasses.replace(problem, checkpoint=memory)
    with pytest.raises(InterruptionError):
        method.solve(interrupted, seed=3)
    memory.left = None
    resumed = method.solve(interrupted, seed=3)
    assert torch.equal(resumed.mean, whole.mean)
    assert torch.equal(resumed.samples, whole.samples)
    assert resumed.diagnostics == whole.diagnostics


class Broken:
    """A kernel for which the energy of some chains is no number after their start."""

    def __init__(self, *chains: int) -> None:
        self.__name__ = "broken"
        self._chains, self._made = chains, 0

    def __call__(self, potential, **limits):
        broken = self._made in self._chains
        self._made += 1
        evaluated = 0

        def energy(sites: dict[str, Tensor]) -> Tensor:
            nonlocal evaluated
            evaluated += 1
            return potential(sites) * (math.nan if broken and evaluated > 1 else 1)

        return no_u_turn(energy, **limits)


def test_a_chain_that_diverges_is_left_out_by_its_number():
    method = ct.hmc(**{**SHORT, "n_chains": 3, "kernel": Broken(1)})
    result = reconstruct(method)
    numbers = result.metadata["diagnostics"][0]
    assert numbers["excluded_members"] == "1"
    assert result.samples.shape == (6, 10, 10)
    assert torch.allclose(result.samples.mean(0), result.mean, atol=1e-9)
    assert torch.allclose(result.samples.std(0), result.std, atol=1e-9)
    assert all(math.isfinite(value) for value in numbers.values() if isinstance(value, float))


def test_if_all_chains_diverge_that_is_said():
    with pytest.raises(ValueError, match="all chains diverged"):
        reconstruct(ct.hmc(**{**SHORT, "kernel": Broken(0, 1)}))


def test_fits_that_diverge_are_no_chains():
    with pytest.raises(ValueError, match="all chains diverged"):
        reconstruct(ct.hmc(**{**SHORT, "learning_rate": 1e30}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_chains": 1},
        {"warm_up": 0},
        {"samples_per_chain": 1},
        {"thinning": 0},
        {"max_leapfrogs": 0},
        {"target_acceptance": 1.0},
        {"steps": 0},
        {"learning_rate": 0.0},
        {"tv_share": -1.0},
        {"prior_precision": 0.0},
        {"held_out": 0.7},
    ],
    ids=str,
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ct.hmc(**wrong)
