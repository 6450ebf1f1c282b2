import math

import pytest
import torch

import ct
from bayesnn.inference.mc_dropout import UnitDropout
from ct.inr.feature_grid import FeatureGrid
from ct.inr.pixel_grid import PixelGrid
from ct.posterior.schedules import cosine_fall, one_cycle
from ct.posterior.side_by_side import dropout_rendering, member, render_members, stacked
from ct.posterior.training import (
    Descent,
    Measurements,
    check_tv,
    likely_tv_weight,
    train_members,
)
from tests.ct.posterior.memory_checkpoint import InterruptionError, MemoryCheckpoint

GRID = ct.ImageGrid((10, 12))
SCAN = ct.ParallelBeam([k * math.pi / 7 for k in range(7)], n_detectors=17)
SMALL = FeatureGrid(coarsest=4, channels=3, width=8, depth=1)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _members(n: int, kind=SMALL):
    networks = [
        kind.build((10, 12), start=0.3, generator=_generator(i)).to(torch.float64) for i in range(n)
    ]
    start = stacked([{k: p.detach() for k, p in one.named_parameters()} for one in networks])
    return networks[0], start


def _measured(n: int, *, own_noise: bool = False) -> Measurements:
    A = ct.projector(GRID, SCAN)
    image = torch.zeros(10, 12, dtype=torch.float64)
    image[3:7, 4:9] = 1
    noise = torch.randn(n, 7, 17, dtype=torch.float64, generator=_generator(9))
    std = 0.1 * torch.ones(n if own_noise else 1, 7, 17, dtype=torch.float64)
    if own_noise:
        std *= (1 + torch.arange(n))[:, None, None]
    return Measurements(projector=A, sinogram=A(image) + 0.1 * noise, noise_std=std)


DESCENT = Descent(steps=30, learning_rate=0.02, tv_share=0.4)


def _with_dropout(network, numbers):
    dropout = UnitDropout(units=network.dropout_units, rate=0.3)
    return dropout_rendering(network, dropout, seeds=[100 + i for i in numbers])


def _train(numbers: range, n: int, **settings):
    network, start = _members(n)
    start = {name: value[numbers.start : numbers.stop] for name, value in start.items()}
    measured = _measured(n, own_noise=True).some(numbers)
    return train_members(
        network, start, measured, DESCENT, render=_with_dropout(network, numbers), **settings
    )


@pytest.mark.parametrize("kind", [SMALL, PixelGrid()], ids=["grid", "pixels"])
def test_images_side_by_side_are_those_of_each_member(kind):
    network, params = _members(3, kind)
    together = render_members(network, params)
    for index in range(3):
        alone = {name: value[None] for name, value in member(params, index).items()}
        assert torch.allclose(render_members(network, alone)[0], together[index], atol=1e-12)


def test_members_do_not_depend_on_who_is_trained_beside_them():
    together = _train(range(4), 4)
    for chunk in (range(2), range(2, 4), range(3, 4)):
        part = _train(chunk, 4)
        for name, value in together.params.items():
            ours = value[chunk.start : chunk.stop]
            assert torch.allclose(part.params[name], ours, rtol=1e-7, atol=1e-9)
        assert torch.allclose(part.tv_weight, together.tv_weight[chunk.start : chunk.stop])
    assert not torch.allclose(together.tv_weight[0], together.tv_weight[1], rtol=1e-3)


@pytest.mark.parametrize("stop_after", [1, 7, 29])
def test_interrupted_training_ends_in_the_same_numbers(stop_after):
    whole = _train(range(2), 2)
    checkpoint = MemoryCheckpoint(stop_after)
    with pytest.raises(InterruptionError):
        _train(range(2), 2, checkpoint=checkpoint)
    seen: list[int] = []
    resumed = _train(range(2), 2, checkpoint=checkpoint, report=seen.append)
    assert seen == list(range(stop_after + 1, 31))
    for name, value in whole.params.items():
        assert torch.equal(resumed.params[name], value)
    assert torch.equal(resumed.loss, whole.loss)
    assert torch.equal(resumed.good, whole.good)


def test_what_is_finished_is_not_trained_again():
    checkpoint = MemoryCheckpoint()
    first = _train(range(2), 2, checkpoint=checkpoint)
    seen: list[int] = []
    again = _train(range(2), 2, checkpoint=checkpoint, report=seen.append)
    assert seen == []
    assert torch.equal(first.loss, again.loss)
    assert all(torch.equal(again.params[name], value) for name, value in first.params.items())


def test_a_member_that_diverges_is_named_and_the_others_stay_what_they_are():
    network, start = _members(3)
    measured = _measured(3)
    descent = Descent(steps=40, learning_rate=0.02)
    whole = train_members(network, start, measured, descent)
    assert whole.good.tolist() == [True, True, True]
    broken = {name: value.clone() for name, value in start.items()}
    broken["weights.0"][1, 0, 0] = torch.nan
    trained = train_members(network, broken, measured, descent)
    assert trained.good.tolist() == [True, False, True]
    for name, value in whole.params.items():
        assert torch.allclose(trained.params[name][[0, 2]], value[[0, 2]], atol=1e-9)


def test_a_member_that_ends_far_worse_than_it_began_counts_as_diverged():
    network, start = _members(2)
    descent = Descent(steps=3, learning_rate=1e4, schedule=lambda _: 1.0)
    trained = train_members(network, start, _measured(2), descent)
    assert bool(trained.loss.isfinite().all())
    assert trained.good.tolist() == [False, False]


def test_the_regulariser_is_part_of_what_is_minimised():
    # pixels: a ridge problem with a closed solution for each member
    network, start = _members(2, PixelGrid())
    measured = _measured(2, own_noise=True)

    def ridge(params: dict[str, torch.Tensor]) -> torch.Tensor:
        return 0.5 * params["pixels"].square().sum((1, 2))

    descent = Descent(steps=400, learning_rate=0.05, schedule=cosine_fall, regulariser=ridge)
    trained = train_members(network, start, measured, descent)
    identity = torch.eye(120, dtype=torch.float64).reshape(120, 10, 12)
    a = measured.projector(identity).reshape(120, -1).T
    for index in range(2):
        weight = 1 / measured.noise_std[index].flatten().square() / a.shape[0]
        target = measured.sinogram[index].flatten() - 0.3 * a.sum(1)
        exact = torch.linalg.solve(
            a.T @ (weight[:, None] * a) + torch.eye(120, dtype=torch.float64),
            a.T @ (weight * target),
        )
        ours = trained.params["pixels"][index].flatten()
        assert float((ours - exact).norm() / exact.norm()) < 1e-3


def test_the_likely_weight_makes_the_expected_variation_the_number_of_pixels():
    image = torch.rand(3, 9, 11, generator=_generator(0))
    from ct.classical.total_variation import isotropic_tv

    assert torch.allclose(likely_tv_weight(image) * isotropic_tv(image), torch.tensor(99.0))
    assert likely_tv_weight(torch.zeros(4, 4)).isfinite()


def test_learning_rates_rise_once_and_fall_to_nothing():
    rates = [one_cycle(k / 100) for k in range(101)]
    peak = rates.index(max(rates))
    assert peak == 30
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert min(rates) >= 0
    falls = [cosine_fall(k / 100) for k in range(101)]
    assert falls == sorted(falls, reverse=True)


@pytest.mark.parametrize("wrong", [-0.1, math.inf, math.nan])
def test_a_weight_of_total_variation_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="tv_share: expected a number of at least 0"):
        check_tv(wrong, "tv_share")
