"""Gauss–Newton against itself: members in any chunk, rows counted twice, trainings gone on with."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ensembles import gauss_newton, ntkgp_param
from ensembles.methods.protocol import Method, Params
from ensembles.trainers.problem import TrainingProblem
from tests.contracts.ensemble_cases import each_method
from tests.contracts.watcher import Watcher
from tests.ensembles.trainers.gauss_newton_cases import (
    F64,
    N,
    member_of,
    small_network,
    small_problem,
    wave_data,
)


@each_method
def test_a_weight_is_a_number_of_rows(method: Method, device: str) -> None:
    """With the same targets, a row of weight two is a row that stands there twice.

    λ starts from the mean diagonal of K, a mean over fewer rows of larger weight; given that ratio,
    every step is the same.
    """
    x, y = wave_data(2, device=device)
    counts = torch.tensor([1, 2, 1, 3, 1, 1, 2, 1], device=device)
    plain = small_problem(small_network(device), x, y, method)
    rows = torch.repeat_interleave(torch.arange(N, device=device), counts)
    weighted = replace(plain, row_weight=counts.to(F64))
    repeated = replace(plain, inputs=x[rows], targets=plain.targets[:, rows])
    one, two, different = (
        gauss_newton(max_steps=15, initial_damping=damping).train(problem, seed=0).params
        for problem, damping in ((weighted, 1.0), (repeated, len(rows) / N), (plain, 1.0))
    )
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], rtol=1e-7, atol=1e-8)
    assert float((one["0.weight"] - different["0.weight"]).abs().max()) > 1e-3


@each_method
def test_members_end_alike_in_any_chunk(method: Method, device: str) -> None:
    """Wherever the others have got to: they end after different numbers of steps."""
    x, y = wave_data(2, device=device)
    network = small_network(device)
    trainer = gauss_newton()
    together = trainer.train(small_problem(network, x, y, method, numbers=range(6)), seed=0)
    steps = []
    for i in range(6):
        alone = trainer.train(small_problem(network, x, y, method, numbers=range(i, i + 1)), seed=0)
        steps.append(alone.n_steps)
        for name, value in alone.params.items():
            difference = (together.params[name][i] - value[0]).norm()
            assert float(difference) < 1e-10 * float(value.norm())
    assert max(steps) == together.n_steps
    assert len(set(steps)) > 1 or method.name == "ntkgp_lin"


@each_method
@pytest.mark.parametrize("stop_at", [1, 12, 30])
def test_it_goes_on_from_a_state_bit_for_bit(method: Method, stop_at: int, device: str) -> None:
    x, y = wave_data(2, device=device)
    problem = small_problem(small_network(device), x, y, method, numbers=range(6))
    trainer = gauss_newton()
    whole, watched = Watcher(), Watcher(stop_at=stop_at)
    expected = trainer.train(problem, seed=0, monitor=whole)
    stopped = trainer.train(problem, seed=0, monitor=watched)
    if len(watched.steps) < stop_at:
        assert stopped.n_steps < stop_at
        return
    assert stopped.n_steps == stop_at
    rest = Watcher(start=watched.states[-1])
    found = trainer.train(problem, seed=0, monitor=rest)
    for name, value in expected.params.items():
        assert torch.equal(found.params[name], value)
    assert torch.equal(found.converged, expected.converged)
    assert watched.steps + rest.steps == whole.steps
    losses = torch.stack(watched.losses + rest.losses)
    assert torch.equal(losses, torch.stack(whole.losses))
    start = (problem.targets - _values(problem, problem.start)).square().sum((1, 2)) / (2 * N)
    torch.testing.assert_close(losses[0], start)


def _values(problem: TrainingProblem, params: Params) -> Tensor:
    def one(i: int) -> Tensor:
        shift = {name: member_of(given, i) for name, given in problem.shift.items()}
        return problem.value(problem.network, member_of(params, i), shift, problem.inputs)

    return torch.stack([one(i) for i in range(len(problem.targets))])


def test_one_member_that_diverges_spoils_no_other(device: str) -> None:
    x, y = wave_data(2, device=device)
    network = small_network(device)
    problem = small_problem(network, x, y, ntkgp_param())
    bad = {name: value.clone() for name, value in problem.start.items()}
    bad["0.weight"][1] = math.nan
    trained = gauss_newton().train(replace(problem, start=bad, center=bad), seed=0)
    assert trained.converged.tolist() == [True, False, True]
    alone = gauss_newton().train(problem, seed=0)
    for name, value in trained.params.items():
        torch.testing.assert_close(value[::2], alone.params[name][::2], rtol=1e-9, atol=1e-12)
