"""The prior that training puts beside the misfit."""

import math
from collections.abc import Callable

import pytest
import torch

import ct
from ct.inr.feature_grid import FeatureGrid
from ct.inr.wide_network import WideNetwork
from ct.posterior import laplace, ntkgp_members
from ct.posterior.image_model import image_model
from ct.posterior.laplace_fit import LaplaceModel
from ct.posterior.training import train_members
from ct.problem import Method
from tests.reference.gaussian_scan import GaussianScan

SCAN = GaussianScan()
N_RAYS = SCAN.problem.sinogram.numel()


class _CapturedError(Exception):
    """Training begins: nothing more is needed."""


def _descent(
    monkeypatch: pytest.MonkeyPatch, module: object, method: Method
) -> tuple[dict[str, torch.Tensor], Callable[[dict[str, torch.Tensor]], torch.Tensor]]:
    """Return the start of a method's training, and what is added to its loss."""
    found = []

    def recorded(network, start, seen, descent, **settings):
        found.append((start, descent.regulariser))
        if descent.steps > 1:  # one step is for measuring memory
            raise _CapturedError
        return train_members(network, start, seen, descent, **settings)

    monkeypatch.setattr(module, "train_members", recorded)
    with pytest.raises(_CapturedError):
        method.solve(SCAN.problem, seed=0)
    return found[-1]


def _moved(start: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict]:
    generator = torch.Generator().manual_seed(0)
    by = {name: torch.randn(one.shape, generator=generator).to(one) for name, one in start.items()}
    return {name: one + by[name] for name, one in start.items()}, by


def test_laplace_trains_with_its_prior_over_the_number_of_rays(monkeypatch):
    network = FeatureGrid(coarsest=5, channels=3, width=8)
    method = ct.laplace(network=network, steps=2, prior_precision=7.0, held_out=0)
    start, regulariser = _descent(monkeypatch, laplace, method)
    fan_in = image_model(SCAN.problem, network, seed=0).network.prior_fan_in
    assert len({*fan_in.values()}) > 1
    params, _ = _moved(start)
    energy = sum(7 / 2 * fan_in.get(n, 1) * float(one.square().sum()) for n, one in params.items())
    assert regulariser(params).tolist() == pytest.approx([energy / N_RAYS])


def test_laplaces_prior_precision_is_each_parameters_fan_in():
    model = image_model(SCAN.problem, FeatureGrid(coarsest=5, channels=3, width=8), seed=0)
    fitted = LaplaceModel(
        image=model, tv_weight=torch.zeros(()).double(), rank=0, max_iterations=1, seed=0
    )
    linear = fitted.linearised(model.initial_params())
    parts = linear.layout.split(fitted.fan_in(linear))
    for name, part in parts.items():
        assert part.unique().tolist() == pytest.approx([model.network.prior_fan_in.get(name, 1)])


def test_members_of_ntkgp_are_held_to_where_they_started(monkeypatch):
    monkeypatch.setattr("ct.posterior.ntkgp.SECOND_ORDER_SIZE", 1)
    network = WideNetwork(width=8, n_frequencies=5, depth=1)
    method = ct.ntkgp(network=network, n_members=2, adam_steps=2, held_out=0)
    start, regulariser = _descent(monkeypatch, ntkgp_members, method)
    assert regulariser(start).tolist() == [0, 0]
    params, by = _moved(start)
    energy = sum(one.flatten(1).square().sum(1) / 2 for one in by.values())
    assert torch.allclose(regulariser(params), energy / N_RAYS)


@pytest.mark.parametrize("tv_share", [0.0, 0.3])
def test_members_of_ensembles_have_the_total_variation_asked_for(tv_share):
    method = ct.ensemble(
        network=FeatureGrid(coarsest=5, channels=3, width=8), n_members=2, steps=30,
        tv_share=tv_share, held_out=0,
    )  # fmt: skip
    estimate = method.solve(SCAN.problem, seed=0)
    weight = estimate.diagnostics["tv_weight"]
    assert (weight == 0) == (tv_share == 0)
    assert math.isfinite(float(weight))
