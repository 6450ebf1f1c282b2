"""The small problems that Gauss–Newton is tried on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bayesnn.networks import Erf, mlp
from bayesnn.seeds import seeded_generator
from ensembles.losses import SquaredError
from ensembles.member_problem import training_problem
from ensembles.methods.protocol import Method, Params
from ensembles.trainers.problem import TrainingProblem

F64 = torch.float64
N = 8


def wave_data(*shape: int, device: str, outputs: int = 1) -> tuple[Tensor, Tensor]:
    x = torch.randn(N, *shape, dtype=F64, generator=seeded_generator(1))
    y = torch.stack([(x.flatten(1).sum(1) + j).sin() + 1 for j in range(outputs)], dim=1)
    return x.to(device), y.to(device)


def small_network(device: str, width: int = 24, outputs: int = 1) -> nn.Module:
    return mlp(
        in_features=2, out_features=outputs, width=width, depth=2, activation=Erf(),
        generator=seeded_generator(9),
    ).to(device, F64)  # fmt: skip


def small_problem(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    method: Method,
    *,
    numbers: range = range(3),
    std: tuple[float, ...] = (0.1,),
    row_weight: Tensor | None = None,
) -> TrainingProblem:
    return training_problem(
        network, x, y, method=method, numbers=numbers, seed=3, row_weight=row_weight,
        loss=SquaredError(noise_std=torch.tensor(std, dtype=F64)),
    )  # fmt: skip


def member_of(params: Params, i: int) -> Params:
    return {name: value[i] for name, value in params.items()}
