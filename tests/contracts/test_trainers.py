"""Laws of every trainer: members stand alone, a monitor sees, stops and resumes them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bayesnn.networks import Erf, StandardLinear, mlp
from bayesnn.seeds import seeded_generator
from ensembles import adam, deep_ensemble, early_stopping, gauss_newton, ntkgp_param, sgd
from ensembles.losses import SquaredError
from ensembles.member_problem import training_problem
from ensembles.methods.protocol import Method
from ensembles.trainers.execution import Execution
from ensembles.trainers.problem import Trainer, TrainingProblem
from ensembles.trainers.schedules import constant, step_decay
from tests.contracts.watcher import Watcher

SEED = 4
FIRST_ORDER = {
    "adam": adam(steps=12),
    "adam, batches": adam(steps=12, batch_size=7, schedule=constant()),
    "adam, early stopping": adam(
        steps=12, batch_size=5, early_stopping=early_stopping(fraction=0.2, every=5)
    ),
    "sgd": sgd(learning_rate=0.05, steps=12, schedule=step_decay()),
    "sgd, batches": sgd(learning_rate=0.05, steps=12, batch_size=7, nesterov=False),
    "sgd, no momentum": sgd(learning_rate=0.05, steps=12, momentum=0.0),
}
TRAINERS = FIRST_ORDER | {"gauss_newton": gauss_newton(max_steps=12, tolerance=1e-30)}
each_trainer = pytest.mark.parametrize("trainer", TRAINERS.values(), ids=TRAINERS.keys())


def _network(device: str, dtype: torch.dtype, width: int = 16) -> nn.Module:
    return mlp(
        in_features=2, out_features=1, width=width, depth=2, activation=Erf(),
        linear=StandardLinear, bias_std=0.3, generator=seeded_generator(9),
    ).to(device, dtype)  # fmt: skip


def _problem(
    device: str,
    *,
    method: Method | None = None,
    members: range = range(3),
    width: int = 16,
    n: int = 20,
    dtype: torch.dtype = torch.float64,
) -> TrainingProblem:
    x = torch.randn(n, 2, dtype=torch.float64, generator=seeded_generator(1))
    y = x.sum(1, keepdim=True).sin() + 1.0
    return training_problem(
        _network(device, dtype, width), x.to(device, dtype), y.to(device, dtype),
        method=method or ntkgp_param(), numbers=members, seed=SEED,
        loss=SquaredError(noise_std=torch.tensor([0.1], dtype=torch.float64)),
    )  # fmt: skip


@each_trainer
def test_a_monitor_hears_of_every_step(trainer: Trainer, device: str) -> None:
    watcher = Watcher()
    trained = trainer.train(_problem(device), seed=SEED, monitor=watcher)
    assert watcher.steps == list(range(1, trained.n_steps + 1))
    assert set(watcher.totals) == {12}
    assert all(losses.shape == (3,) for losses in watcher.losses)
    assert bool((watcher.losses[-1] < watcher.losses[0]).all())


@each_trainer
def test_watching_changes_nothing(trainer: Trainer, device: str) -> None:
    watched = trainer.train(_problem(device), seed=SEED, monitor=Watcher())
    unwatched = trainer.train(_problem(device), seed=SEED)
    for name, value in unwatched.params.items():
        assert torch.equal(watched.params[name], value)


@each_trainer
def test_a_monitor_can_stop(trainer: Trainer, device: str) -> None:
    trained = trainer.train(_problem(device), seed=SEED, monitor=Watcher(stop_at=3))
    assert trained.n_steps == 3
    assert all(bool(value.isfinite().all()) for value in trained.params.values())


@each_trainer
@pytest.mark.parametrize("method", [deep_ensemble(), ntkgp_param()], ids=lambda m: m.name)
def test_training_goes_on_bit_for_bit(trainer: Trainer, method: Method, device: str) -> None:
    whole = Watcher()
    expected = trainer.train(_problem(device, method=method), seed=SEED, monitor=whole)
    for done in (1, 7, len(whole.states) - 1):
        problem = _problem(device, method=method)
        again = Watcher(start=whole.states[done - 1])
        found = trainer.train(problem, seed=SEED, monitor=again)
        assert again.steps == list(range(done + 1, expected.n_steps + 1))
        assert found.n_steps == expected.n_steps
        assert torch.equal(found.converged, expected.converged)
        for name, value in expected.params.items():
            assert torch.equal(found.params[name], value)


@each_trainer
def test_members_stand_alone(trainer: Trainer, device: str) -> None:
    """A member that diverges leaves the others as they are, in loss and parameters."""
    expected = trainer.train(_problem(device), seed=SEED)
    spoilt = _problem(device)
    spoilt.targets[1] = torch.nan  # the targets are this problem's own
    found = trainer.train(spoilt, seed=SEED)
    for name, value in expected.params.items():
        for number in (0, 2):
            torch.testing.assert_close(
                found.params[name][number], value[number], rtol=1e-10, atol=1e-12
            )


@each_trainer
def test_the_problem_is_left_as_it_was(trainer: Trainer, device: str) -> None:
    problem, untouched = _problem(device), _problem(device)
    trainer.train(problem, seed=SEED)
    assert problem.center is not None
    assert untouched.center is not None
    assert torch.equal(problem.targets, untouched.targets)
    for name, value in untouched.start.items():
        assert torch.equal(problem.start[name], value)
        assert torch.equal(problem.center[name], untouched.center[name])


@pytest.mark.parametrize(
    ("dtype", "parameter_bound", "value_bound"),
    [(torch.float32, 1e-4, 1e-5), (torch.float64, 1e-10, 1e-10)],
    ids=["float32", "float64"],
)
@pytest.mark.parametrize("method", [deep_ensemble(), ntkgp_param()], ids=lambda m: m.name)
def test_side_by_side_is_as_accurate_as_a_loop(
    method: Method, dtype: torch.dtype, parameter_bound: float, value_bound: float, device: str
) -> None:
    """After 200 steps of Adam, relative to the way that parameters went, and in predictions."""
    trainer = adam(steps=200)
    together = _problem(device, method=method, width=64, dtype=dtype)
    found = trainer.train(together, seed=SEED).params
    for number in (0, 2):
        alone = _problem(
            device, method=method, width=64, dtype=dtype, members=range(number, number + 1)
        )
        expected = trainer.train(alone, seed=SEED).params
        for name, value in expected.items():
            gap = (found[name][number] - value[0]).norm()
            assert float(gap / (value - alone.start[name]).norm()) < parameter_bound
        values = [
            method.value(alone.network, {k: v[i] for k, v in params.items()}, {}, alone.inputs)
            for params, i in ((found, number), (expected, 0))
        ]
        torch.testing.assert_close(*values, rtol=0, atol=value_bound)


@pytest.mark.parametrize("graph", [True, False])
def test_ways_to_run_a_step_agree(graph: bool, device: str) -> None:
    plain = adam(steps=30, batch_size=7).train(_problem(device), seed=SEED).params
    execution = Execution(cuda_graph=graph)
    found = adam(steps=30, batch_size=7, execution=execution).train(_problem(device), seed=SEED)
    for name, value in plain.items():
        torch.testing.assert_close(found.params[name], value, rtol=1e-10, atol=1e-12)


def test_low_precision_products_change_little(device: str) -> None:
    problem = _problem(device, width=64, dtype=torch.float32)
    plain = adam(steps=50).train(problem, seed=SEED).params
    execution = Execution(autocast=torch.bfloat16)
    low = adam(steps=50, execution=execution).train(problem, seed=SEED).params
    for name, value in plain.items():
        went = (value - problem.start[name]).norm()
        assert 0 < float((low[name] - value).norm()) < 0.5 * float(went)
        assert low[name].dtype == torch.float32
