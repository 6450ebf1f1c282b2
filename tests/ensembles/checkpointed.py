"""A small fit in chunks of two members, which can be kept and interrupted anywhere."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from bayesnn.networks import Erf, mlp
from bayesnn.seeds import seeded_generator
from ensembles import adam, ntkgp_param
from ensembles.digest import digest
from ensembles.fit import fit_members
from ensembles.gathered import FittedMembers
from ensembles.losses import SquaredError
from ensembles.preparation import prepared
from ensembles.progress import Progress
from ensembles.trainers.member_size import member_size

X = torch.randn(12, 2, dtype=torch.float64, generator=seeded_generator(1))
Y = X.sum(1, keepdim=True).sin()


class InterruptionError(Exception):
    """What the tests interrupt fits with."""


def network(width: int = 8) -> nn.Module:
    return mlp(in_features=2, out_features=1, width=width, depth=2, activation=Erf()).double()


def fit(**changes: Any) -> FittedMembers:
    """Fit five members, two at once."""
    settings: dict[str, Any] = {
        "network": network(), "x": X, "y": Y, "method": ntkgp_param(), "trainer": adam(steps=20),
        "n_members": 5, "loss": SquaredError(noise_std=torch.tensor([0.2])), "seed": 1,
    }  # fmt: skip
    settings |= changes
    net, method = settings["network"], settings["method"]
    size = member_size(prepared(net, method, X), method, X, 1)
    each = settings["trainer"].bytes_per_member(size)
    return fit_members(**{"memory_budget": 2 * each, **settings})


def interrupt_at(member: int, step: int) -> Any:
    def callback(progress: Progress) -> None:
        if member in progress.members and progress.step == step:
            raise InterruptionError

    return callback


def told_by(progress: list[Progress]) -> list[tuple[int, int]]:
    """Return the first member and the step of each report."""
    return [(one.members[0], one.step) for one in progress]


def all_bits(fitted: FittedMembers) -> str:
    """Return a digest of everything in a result."""
    parts = [fitted.params, fitted.shift, fitted.members, fitted.converged, fitted.n_steps]
    return digest(parts)


def assert_same(found: FittedMembers, expected: FittedMembers) -> None:
    assert found.members == expected.members
    assert found.converged == expected.converged
    assert found.n_steps == expected.n_steps
    for name, value in expected.params.items():
        assert torch.equal(found.params[name], value)
    for kind, params in expected.shift.items():
        for name, value in params.items():
            assert torch.equal(found.shift[kind][name], value)
