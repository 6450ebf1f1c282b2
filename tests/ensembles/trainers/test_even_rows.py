"""A row that is added for even numbers changes nothing but rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from bayesnn.seeds import seeded_generator
from ensembles import deep_ensemble, gauss_newton, ntkgp_param
from ensembles.losses import SquaredError
from ensembles.trainers import gauss_newton as module
from ensembles.trainers.even_rows import with_even_rows
from ensembles.trainers.problem import TrainingProblem
from tests.ensembles.executor_cases import data, regressor


@pytest.fixture
def problems(monkeypatch: pytest.MonkeyPatch) -> list[tuple[TrainingProblem, TrainingProblem]]:
    """What was given, and what is trained on."""
    seen = []

    def noted(problem: TrainingProblem) -> TrainingProblem:
        seen.append((problem, with_even_rows(problem)))
        return seen[-1][1]

    monkeypatch.setattr(module, "with_even_rows", noted)
    return seen


@pytest.mark.parametrize("weighted", [False, True])
def test_the_last_row_comes_again_without_weight(
    problems: list[tuple[TrainingProblem, TrainingProblem]], weighted: bool
) -> None:
    x, y = data(7)
    weight = np.linspace(1, 2, 7) if weighted else None
    regressor(trainer=gauss_newton()).fit(x, y, sample_weight=weight)
    ((given_, taken),) = problems
    for name, dim in (("inputs", 0), ("targets", 1)):
        before, after = getattr(given_, name), getattr(taken, name)
        assert after.shape[dim] == 8
        assert torch.equal(after.narrow(dim, 0, 7), before)
        assert torch.equal(after.narrow(dim, 7, 1), before.narrow(dim, 6, 1))
    assert taken.row_weight is not None
    expected = torch.ones(7) if given_.row_weight is None else given_.row_weight
    assert torch.equal(taken.row_weight[:7], expected.to(taken.row_weight))
    assert taken.row_weight[7] == 0


def test_even_rows_stay(problems: list[tuple[TrainingProblem, TrainingProblem]]) -> None:
    x, y = data(8)
    regressor(trainer=gauss_newton()).fit(x, y)
    ((given_, taken),) = problems
    assert taken is given_


@pytest.mark.parametrize("method", [ntkgp_param(), deep_ensemble()], ids=["ntkgp", "deep"])
def test_training_goes_the_same_way(method: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first steps are those of the rows alone, damping included, and the losses too."""
    x, y = data(21)
    losses: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    params = {}
    for even in (True, False):
        if not even:
            monkeypatch.setattr(module, "with_even_rows", lambda problem: problem)
        model = regressor(trainer=gauss_newton(max_steps=6), method=method)
        model.fit(x, y, callback=lambda now, even=even: losses[even].append(now.losses.clone()))
        params[even] = model.params_
    for mine, its in zip(losses[True], losses[False], strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-9, atol=0)
    for name, value in params[True].items():
        torch.testing.assert_close(value, params[False][name], rtol=1e-7, atol=1e-9)


@given(n=st.integers(2, 9), k=st.integers(1, 3), offset=st.booleans())
def test_numbers_of_a_member_are_even(n: int, k: int, offset: bool) -> None:
    network = nn.Linear(2, k)
    params = {name: value.detach()[None] for name, value in network.named_parameters()}
    problem = TrainingProblem(
        network=network,
        value=lambda net, member, _, x: torch.func.functional_call(net, member, (x,)),
        linearised_at=lambda theta, _: theta,
        inputs=torch.randn(n, 2, generator=seeded_generator(0)),
        targets=torch.randn(1, n, k, generator=seeded_generator(1)),
        offset=torch.ones(1, n, k) if offset else None,
        row_weight=None,
        loss=SquaredError(noise_std=torch.ones(k)),
        start=params,
        center=None,
        shift={},
        precision={name: torch.ones_like(value[0]) for name, value in params.items()},
    )
    even = with_even_rows(problem)
    assert even.targets[0].numel() % 2 == 0
    assert len(even.inputs) == even.targets.shape[1]
    assert even.offset is None or even.offset.shape == even.targets.shape
    assert (len(even.inputs) == n) == (n * k % 2 == 0)
