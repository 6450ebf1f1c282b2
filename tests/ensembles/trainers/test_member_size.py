"""What a member is said to take in training is what it takes, whatever its layers are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bayesnn.networks import Erf, convnet, mlp, resnet
from bayesnn.seeds import seeded_generator
from ensembles import adam, deep_ensemble, ntkgp_lin, ntkgp_param, sgd
from ensembles.losses import SquaredError
from ensembles.member_problem import training_problem
from ensembles.memory import peak_memory
from ensembles.methods.protocol import Method
from ensembles.preparation import prepared
from ensembles.trainers.member_size import member_size

MEMBERS = 3
LOSS = SquaredError(noise_std=torch.tensor([0.1]))


class Transformer(nn.Module):
    """A layer of attention over vectors at positions."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x).mean(1))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (
        lambda: mlp(in_features=8, out_features=1, width=64, depth=2, activation=Erf()),
        (8,),
    ),
    "convnet": (
        lambda: convnet(in_channels=2, out_features=1, width=8, depth=2, activation=Erf()),
        (2, 12, 12),
    ),
    "resnet": (
        lambda: resnet(in_features=8, out_features=1, width=32, depth=3, activation=Erf()),
        (8,),
    ),
    "transformer": (Transformer, (5, 8)),
}


@pytest.mark.parametrize(
    ("method", "batch_size"),
    [(ntkgp_param(), 100), (deep_ensemble(), 16)],
    ids=["all rows", "few rows"],
)
@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_within_a_factor_2_of_what_is_allocated(
    name: str, method: Method, batch_size: int
) -> None:
    """From the draws to the last step, the fixed function within the same budget."""
    build, shape = NETWORKS[name]
    x = torch.randn(100, *shape, generator=seeded_generator(1))
    y = x.flatten(1).sum(1, keepdim=True)
    network = prepared(build(), method, x)
    trainer = adam(steps=1, batch_size=batch_size)
    each = trainer.bytes_per_member(member_size(network, method, x, 1))

    def fit() -> None:
        problem = training_problem(
            network, x, y, method=method, numbers=range(MEMBERS), loss=LOSS, seed=0,
            memory_budget=MEMBERS * each,
        )  # fmt: skip
        with torch.enable_grad():
            trainer.train(problem, seed=0)

    assert 0.5 < MEMBERS * each / peak_memory(fit) < 2


def test_a_member_that_is_a_derivative_takes_more() -> None:
    build, shape = NETWORKS["mlp"]
    x = torch.randn(20, *shape)
    plain, linear = (
        member_size(prepared(build(), method, x), method, x, 1)
        for method in (ntkgp_param(), ntkgp_lin())
    )
    assert linear.bytes_per_point > 1.2 * plain.bytes_per_point


def test_it_grows_with_what_a_step_holds_alone() -> None:
    build, shape = NETWORKS["convnet"]
    small, large = (torch.randn(20, *shape[:1], side, side) for side in (6, 12))
    network = prepared(build(), deep_ensemble(), small)
    at, wider = (member_size(network, deep_ensemble(), x, 1) for x in (small, large))
    assert wider.bytes_per_point == pytest.approx(4 * at.bytes_per_point, rel=0.1)
    assert member_size(network, deep_ensemble(), small[:2], 1).bytes_per_point == pytest.approx(
        at.bytes_per_point, rel=0.1
    )
    for rows in (5, 20, 100):
        added = min(rows, 20) * at.bytes_per_point
        assert (
            sgd(learning_rate=0.1, batch_size=rows).bytes_per_member(at)
            == (7 * at.n_params + 3 * 20) * 4 + added
        )
