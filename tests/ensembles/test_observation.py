import dataclasses

import pytest
import torch

from bayesnn.networks import Erf, mlp, prior_precision
from bayesnn.seeds import seeded_generator
from ensembles import adam, gauss_newton, ntkgp_lin
from ensembles.losses import SquaredError
from ensembles.trainers.observation import observed_kernel
from ensembles.trainers.problem import TrainingProblem


class Sums:
    """H: each datum is a weighted sum of the first output over all inputs."""

    def __init__(self, matrix: torch.Tensor) -> None:
        self.matrix = matrix

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        return self.matrix @ values

    def transpose(self, cotangent: torch.Tensor) -> torch.Tensor:
        return self.matrix.T @ cotangent


def _problem() -> tuple[TrainingProblem, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    net = mlp(
        in_features=2, out_features=1, width=16, depth=1, activation=Erf(), generator=generator
    ).double()
    x = torch.randn(7, 2, dtype=torch.float64, generator=generator)
    matrix = torch.randn(4, 7, dtype=torch.float64, generator=generator)
    draw = ntkgp_lin().draw(net, generator=seeded_generator(1))
    problem = TrainingProblem(
        network=net,
        value=ntkgp_lin().value,
        linearised_at=ntkgp_lin().linearised_at,
        inputs=x,
        targets=torch.randn(1, 4, 1, dtype=torch.float64, generator=generator),
        offset=None,
        row_weight=torch.tensor([1.0, 2.0, 0.5, 0.0], dtype=torch.float64),
        loss=SquaredError(noise_std=torch.tensor([0.3], dtype=torch.float64)),
        start={name: value[None] for name, value in draw.start.items()},
        center={name: value[None] for name, value in draw.start.items()},
        shift={k: {n: v[None] for n, v in params.items()} for k, params in draw.shift.items()},
        precision=prior_precision(net),
        observation=Sums(matrix),
    )
    return problem, matrix


def test_a_linear_member_reaches_the_closed_solution_for_sums_of_its_values():
    problem, matrix = _problem()
    trained = gauss_newton().train(problem, seed=0)
    tangent = {name: value[0] for name, value in problem.shift["tangent_at"].items()}
    rows = torch.func.jacrev(
        lambda p: torch.func.functional_call(problem.network, p, (problem.inputs,))[:, 0]
    )(tangent)
    names = list(tangent)
    h = matrix @ torch.cat([rows[name].reshape(7, -1) for name in names], 1)
    start = torch.cat([problem.start[name].flatten() for name in names])
    root = problem.row_weight.sqrt()[:, None]
    residual = root[:, 0] * (problem.targets.flatten() - h @ start)
    h = root * h
    step = h.T @ torch.linalg.solve(h @ h.T + 0.09 * torch.eye(4, dtype=torch.float64), residual)
    ours = torch.cat([trained.params[name].flatten() for name in names])
    assert torch.allclose(ours, start + step, atol=1e-9)


def test_a_kernel_is_observed_from_both_sides():
    generator = torch.Generator().manual_seed(3)
    root = torch.randn(2, 10, 10, dtype=torch.float64, generator=generator)
    kernel = root @ root.mT  # of 5 inputs and 2 outputs
    matrix = torch.randn(3, 5, dtype=torch.float64, generator=generator)
    both = torch.block_diag(matrix, matrix)
    ours = observed_kernel(Sums(matrix), kernel, 2)
    assert torch.allclose(ours, both @ kernel @ both.T)


def test_trainers_by_gradients_refuse_data_that_are_sums():
    problem, _ = _problem()
    with pytest.raises(ValueError, match=r"need gauss_newton\(\)"):
        adam().train(dataclasses.replace(problem), seed=0)
