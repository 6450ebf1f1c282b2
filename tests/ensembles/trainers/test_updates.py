"""Updates against their references, and against torch's optimisers on the written-out objective."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from bayesnn.networks import Erf, NTKLinear, StandardLinear, mlp
from bayesnn.seeds import seeded_generator
from ensembles import adam, deep_ensemble, ntkgp_param, sgd
from ensembles.losses import SquaredError
from ensembles.member_problem import training_problem
from ensembles.methods.protocol import Method
from ensembles.trainers import updates
from ensembles.trainers.batches import Batches
from ensembles.trainers.leaf import Leaf, new_leaf
from ensembles.trainers.problem import TrainingProblem
from ensembles.trainers.schedules import Schedule, constant, cosine
from ensembles.trainers.updates import (
    AdamRule,
    Rule,
    SGDRule,
    adam_reference,
    sgd_reference,
)
from tests.reference.naive_training import train_naively

SEED = 2
RULES: list[tuple[Rule, Callable[..., None]]] = [
    (AdamRule(), adam_reference),
    (SGDRule(momentum=0.9, nesterov=True), sgd_reference),
    (SGDRule(momentum=0.9, nesterov=False), sgd_reference),
    (SGDRule(momentum=0.0, nesterov=False), sgd_reference),
]


def _leaf(rule: Rule, device: str, dtype: torch.dtype, *, pull: bool) -> Leaf:
    """A leaf whose gradients lie transposed in memory."""
    draws = torch.randn(3, 2, 37, 41, dtype=torch.float64, generator=seeded_generator(1))
    start, center, like = draws.to(device, dtype)
    return new_leaf(
        start, like.transpose(1, 2).contiguous().transpose(1, 2), n_slots=rule.n_slots,
        center=center if pull else None, decay=0.3, scale=0.7,
    )  # fmt: skip


@pytest.mark.parametrize("piece", [2**20, 1000])  # whole, or in ten pieces of which one is short
@pytest.mark.parametrize("pull", [True, False])
@pytest.mark.parametrize(("rule", "reference"), RULES, ids=[str(rule) for rule, _ in RULES])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_fast_updates_are_the_reference(
    rule: Rule,
    reference: Callable[..., None],
    pull: bool,
    piece: int,
    dtype: torch.dtype,
    device: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(updates, "PIECE", piece)
    leaves = [_leaf(rule, device, dtype, pull=pull) for _ in range(2)]
    exact = dtype if device != "cpu" else torch.float64
    for step in range(1, 6):
        gradient = torch.randn(leaves[0].dense.shape, generator=seeded_generator(SEED, step))
        gradient = gradient.to(device, dtype)
        rates = torch.tensor(rule.rates(step, 0.01 / step), dtype=exact, device=device)
        rule.update([leaves[0]], [gradient.clone()], rates)
        reference(rule, leaves[1], gradient, rates)
    tolerance = (
        {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 1e-12, "atol": 1e-13}
    )
    torch.testing.assert_close(leaves[0].dense, leaves[1].dense, **tolerance)
    for fast, slow in zip(leaves[0].slots, leaves[1].slots, strict=True):
        torch.testing.assert_close(fast, slow, **tolerance)
    torch.testing.assert_close(leaves[0].value.detach(), leaves[0].shaped(leaves[0].dense))


def _problem(linear: type[nn.Module], method: Method, device: str) -> TrainingProblem:
    network = mlp(
        in_features=2, out_features=1, width=16, depth=2, activation=Erf(), bias_std=0.4,
        linear=linear, generator=seeded_generator(3),
    ).to(device, torch.float64)  # fmt: skip
    x = torch.randn(20, 2, dtype=torch.float64, generator=seeded_generator(1)).to(device)
    weight = torch.rand(20, dtype=torch.float64, generator=seeded_generator(2)).to(device) + 0.5
    return training_problem(
        network, x, x.sum(1, keepdim=True).sin(), method=method, numbers=range(2), seed=SEED,
        loss=SquaredError(noise_std=torch.tensor([0.5], dtype=torch.float64)), row_weight=weight,
    )  # fmt: skip


@pytest.mark.parametrize("method", [deep_ensemble(), ntkgp_param()], ids=lambda m: m.name)
@pytest.mark.parametrize("linear", [NTKLinear, StandardLinear], ids=lambda c: c.__name__)
@pytest.mark.parametrize("batch_size", [20, 6])
@pytest.mark.parametrize("kind", ["adam", "nesterov", "heavy ball"])
def test_training_is_torchs_optimiser_on_the_objective(
    kind: str, batch_size: int, linear: type[nn.Module], method: Method, device: str
) -> None:
    """Members are those of a loop with torch's optimiser, whitened, with autograd's regulariser."""
    steps, rate = 25, 0.02
    schedule: Schedule = cosine() if kind == "adam" else constant()
    settings = {"steps": steps, "batch_size": batch_size, "schedule": schedule}
    naive: Callable[[list[Tensor]], torch.optim.Optimizer]
    if kind == "adam":
        trainer, naive = adam(learning_rate=rate, **settings), torch.optim.Adam
    else:
        nesterov = kind == "nesterov"
        trainer = sgd(learning_rate=rate, nesterov=nesterov, **settings)
        naive = partial(torch.optim.SGD, lr=rate, momentum=0.9, nesterov=nesterov)
    problem = _problem(linear, method, device)
    found = trainer.train(problem, seed=SEED).params
    batches = Batches(20, batch_size, SEED, torch.device(device))
    every = torch.arange(20, device=device)
    for member in range(2):
        expected = train_naively(
            problem, member, naive, [rate * schedule(i / steps) for i in range(steps)],
            lambda step: every if batches.full else batches.rows(step),
        )  # fmt: skip
        for name, value in expected.items():
            torch.testing.assert_close(found[name][member], value, rtol=1e-9, atol=1e-11)


def test_prior_precision_that_differs_within_a_tensor(device: str) -> None:
    """Such a tensor is trained whitened, and ends where the loop with a whitened one does."""
    problem = _problem(NTKLinear, ntkgp_param(), device)
    name = "2.weight"
    varied = torch.rand(16, 16, dtype=torch.float64, generator=seeded_generator(7)) + 0.5
    problem.precision[name] = varied.to(device)
    found = adam(steps=15, learning_rate=0.02, schedule=constant()).train(problem, seed=SEED)
    every = torch.arange(20, device=device)
    expected = train_naively(problem, 1, torch.optim.Adam, [0.02] * 15, lambda _: every)
    for key, value in expected.items():
        torch.testing.assert_close(found.params[key][1], value, rtol=1e-9, atol=1e-11)
