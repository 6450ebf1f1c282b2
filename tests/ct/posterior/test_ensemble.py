import math

import pytest
import torch

import ct
from ct.inr.feature_grid import FeatureGrid
from ct.inr.fourier_network import FourierNetwork
from ct.posterior import ensemble as ensemble_module
from ct.posterior.excluded import excluded_names, refilled
from ct.posterior.perturbation import perturbed_sinograms
from ct.posterior.training import train_members
from ct.problem import Problem
from tests.ct.posterior.memory_checkpoint import InterruptionError, MemoryCheckpoint

SMALL = FeatureGrid(coarsest=4, channels=3, width=8, depth=1)
FOURIER = FourierNetwork(n_frequencies=10, width=8, depth=1, frequency_std=5.0)


def _problem(**settings) -> Problem:
    grid = ct.ImageGrid((10, 12))
    scan = ct.ParallelBeam([k * math.pi / 7 for k in range(7)], n_detectors=17)
    A = ct.projector(grid, scan)
    x, y = grid.x_positions, grid.y_positions[:, None]
    image = ((x - 1) ** 2 + y**2 < 9).double()
    noise = torch.randn(7, 17, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    return Problem(
        sinogram=A(image) + 0.2 * noise,
        noise_std=torch.full((7, 17), 0.2, dtype=torch.float64),
        projector=A,
        grid=grid,
        scan=scan,
        keep_samples=True,
        **settings,
    )


def _method(**settings) -> ensemble_module.Ensemble:
    return ct.ensemble(
        **({"network": SMALL, "steps": 20, "n_members": 4, "held_out": 0} | settings)
    )


@pytest.mark.filterwarnings("ignore:memory budget")
@pytest.mark.parametrize(
    "settings",
    [{}, {"network": FOURIER, "dropout": 0.2, "samples_per_member": 2}],
    ids=["grid", "fourier with dropout"],
)
def test_members_of_chunks_are_those_of_all(settings):
    method = _method(**settings)
    together = method.solve(_problem(), seed=0)
    apart = method.solve(_problem(memory_budget=10), seed=0)
    assert (together.diagnostics["members_at_once"], apart.diagnostics["members_at_once"]) == (4, 1)
    assert torch.allclose(together.samples, apart.samples, atol=1e-7)
    assert len(together.samples) == method.n_samples


@pytest.mark.parametrize("stop_after", [1, 25])
def test_an_interrupted_run_goes_on_to_the_same_numbers(monkeypatch, stop_after):
    monkeypatch.setattr(ensemble_module._Work, "at_once", lambda _: 2)
    method = _method(dropout=0.3, samples_per_member=2, held_out=0.2, steps=10)
    whole = method.solve(_problem(), seed=4)
    checkpoint = MemoryCheckpoint(stop_after)
    with pytest.raises(InterruptionError):
        method.solve(_problem(checkpoint=checkpoint), seed=4)
    resumed = method.solve(_problem(checkpoint=checkpoint), seed=4)
    assert torch.equal(resumed.samples, whole.samples)
    assert torch.equal(resumed.mean, whole.mean)


def _broken(numbers: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the members of these numbers start from numbers that are none."""

    def network(self, number):
        built = own(self, number)
        if number in numbers:
            with torch.no_grad():
                next(iter(built.parameters())).fill_(torch.nan)
        return built

    own = ensemble_module._Work._network
    monkeypatch.setattr(ensemble_module._Work, "_network", network)


def test_a_member_that_diverges_is_left_out_and_named(monkeypatch):
    method = _method(n_members=5)
    whole = method.solve(_problem(), seed=0)
    _broken({1, 4}, monkeypatch)
    left = method.solve(_problem(), seed=0)
    assert left.diagnostics["excluded_members"] == "1, 4"
    assert "excluded_members" not in whole.diagnostics
    good = whole.samples[[0, 2, 3]]
    assert torch.allclose(left.mean, good.mean(0), atol=1e-6)
    assert torch.allclose(left.std, good.std(0), atol=1e-6)
    assert len(left.samples) == 5


def test_if_all_diverge_it_is_an_error_that_says_what_to_do(monkeypatch):
    _broken(set(range(4)), monkeypatch)
    with pytest.raises(ValueError, match=r"all members diverged.*learning rate"):
        _method().solve(_problem(), seed=0)


def test_one_member_alone_has_no_spread(monkeypatch):
    _broken({0, 1, 2}, monkeypatch)
    with pytest.raises(ValueError, match="only 1 of 4"):
        _method().solve(_problem(), seed=0)


def test_without_memory_for_all_members_there_are_smaller_chunks(monkeypatch):
    def train(network, start, *args, **settings):
        if len(next(iter(start.values()))) > 2:
            raise torch.OutOfMemoryError
        return train_members(network, start, *args, **settings)

    method = _method()
    whole = method.solve(_problem(), seed=0)
    monkeypatch.setattr(ensemble_module, "train_members", train)
    calls: list[tuple[int, int]] = []
    with pytest.warns(RuntimeWarning, match="4 members at once do not fit") as said:
        estimate = method.solve(_problem(), seed=0, progress=lambda *call: calls.append(call))
    assert len(said) == 1
    assert estimate.diagnostics["members_at_once"] == 2
    assert torch.allclose(estimate.samples, whole.samples, atol=1e-7)
    assert calls == sorted(calls)
    assert calls[-1] == (80, 80)


def test_members_see_noise_of_their_own_and_dead_bins_stay():
    problem = _problem()
    noise_std = problem.noise_std.clone()
    noise_std[:, 5] = math.inf
    problem = Problem(**{**vars(problem), "noise_std": noise_std})
    seen = perturbed_sinograms(problem, seeds=[1, 2, 1])
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[:, :, 5], problem.sinogram[:, 5].expand(3, -1))
    draws = ((seen - problem.sinogram) / 0.2)[:2]
    draws = torch.cat([draws[..., :5], draws[..., 6:]], -1).flatten(1)
    assert float(draws.square().mean()) == pytest.approx(1, abs=0.25)
    assert abs(float((draws[0] * draws[1]).mean())) < 0.3


def test_samples_of_one_member_are_under_masks_of_their_own():
    method = _method(n_members=2, dropout=0.3, samples_per_member=3, steps=5)
    samples = method.solve(_problem(), seed=0).samples
    assert len({tuple(one.flatten().tolist()) for one in samples}) == 6


def test_noise_of_their_own_spreads_the_members():
    rms = [
        float(_method(perturbed=p, steps=60).solve(_problem(), seed=0).std.square().mean().sqrt())
        for p in (False, True)
    ]
    assert rms[1] > 1.1 * rms[0]


def test_frequencies_are_each_members_own():
    # were those of the first member used for all, training the second alone would differ
    method = _method(network=FOURIER, n_members=2, perturbed=False, steps=1, learning_rate=1e-9)
    samples = method.solve(_problem(), seed=0).samples
    work = ensemble_module._Work(method=method, problem=_problem(), seed=0, progress=None)
    for index in range(2):
        image = work._values.to_image(work._network(index)().detach())
        assert torch.allclose(samples[index], image, atol=1e-6)


@pytest.mark.parametrize(("k", "n"), [(2, 3), (3, 8), (7, 8), (4, 4)])
def test_refilled_samples_have_mean_and_covariance_of_those_that_are_left(k, n):
    samples = torch.randn(k, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    filled = refilled(samples, n)
    assert filled.shape == (n, 2, 3)
    assert torch.allclose(filled.mean(0), samples.mean(0))
    assert torch.allclose(filled.flatten(1).T.cov(), samples.flatten(1).T.cov())


def test_nobody_is_named_where_all_are_good():
    assert excluded_names(torch.ones(3, dtype=torch.bool), "x") == ""


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_members": 1},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"samples_per_member": 0},
        {"steps": 0},
        {"learning_rate": 0.0},
        {"tv_share": -1.0},
        {"held_out": 0.6},
    ],
    ids=str,
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ct.ensemble(**wrong)
