import dataclasses
import math

import pytest
import torch
from torch import Tensor

from bayesnn.inference.conjugate_gradients import conjugate_gradients
from bayesnn.inference.laplace import (
    LaplacePosterior,
    curvature_diagonal,
    laplace_posterior,
    likeliest_prior_precision,
)
from bayesnn.inference.linearised import Linearised
from bayesnn.inference.preconditioning import deflation


@dataclasses.dataclass(frozen=True)
class Dense:
    """P = BᵀB."""

    root: Tensor

    def __call__(self, outputs: Tensor, /) -> Tensor:
        return outputs @ self.root.T @ self.root

    def draw(self, generator: torch.Generator, /) -> Tensor:
        noise = torch.randn(len(self.root), generator=generator).to(self.root)
        return noise @ self.root


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def _model() -> tuple[Linearised, Tensor]:
    """A network of two parameters, 9 numbers, 14 outputs, and its Jacobian as a matrix."""
    inputs = _random(14, 3)
    params = {"in": _random(3, 2, seed=1), "out": _random(3, seed=2)}
    linear = Linearised(lambda p: torch.tanh(inputs @ p["in"]) @ p["out"][:2] + p["out"][2], params)
    return linear, linear(torch.eye(9, dtype=torch.float64)).T


def _posterior(**settings) -> tuple[LaplacePosterior, Tensor]:
    linear, jacobian = _model()
    curvatures = [Dense(3 * _random(14, 14, seed=3)), Dense(_random(4, 14, seed=4))]
    prior = torch.linspace(0.5, 2.0, 9).double()
    diagonal = curvature_diagonal(linear, curvatures, seed=0)
    posterior = laplace_posterior(
        linear, curvatures, prior, data_diagonal=diagonal, seed=0, tolerance=1e-8, **settings
    )
    outputs = sum(one.root.T @ one.root for one in curvatures)
    return posterior, jacobian.T @ outputs @ jacobian + prior.diag()


def test_products_are_those_of_the_jacobian():
    linear, jacobian = _model()
    step = 1e-6 * torch.eye(9, dtype=torch.float64)
    moved = torch.stack([linear._function(linear.at + one) for one in step])
    assert torch.allclose((moved - linear.output) / 1e-6, jacobian.T, atol=1e-5)
    outputs = _random(5, 14)
    assert torch.allclose(linear.adjoint(outputs), outputs @ jacobian)


@pytest.mark.parametrize("rank", [0, 4])
def test_samples_have_the_inverse_of_the_precision_as_covariance(rank):
    posterior, precision = _posterior(rank=rank)
    n = 4000
    drawn = posterior.sample(range(n), seed=1)
    assert float(drawn.residual.max()) < 1e-8
    white = drawn.values @ torch.linalg.cholesky(precision)
    covariance = white.T @ white / n
    # each entry of the covariance has a standard error of at most √(2/n)
    assert float((covariance - torch.eye(9)).abs().max()) < 5 * math.sqrt(2 / n)


def test_a_sample_depends_on_its_number_alone():
    posterior, _ = _posterior()
    together, later = posterior.sample(range(6), seed=1), posterior.sample(range(4, 6), seed=1)
    assert torch.allclose(together.values[4:], later.values, atol=1e-9)
    assert not torch.allclose(together.values[0], posterior.sample(range(1), seed=2).values[0])


def test_a_solve_that_ends_at_once_keeps_the_spread_of_the_prior():
    posterior, precision = _posterior()
    short = dataclasses.replace(posterior, max_iterations=1).sample(range(500), seed=1)
    assert float(short.residual.max()) > 1e-3  # and says so
    exact = torch.linalg.inv(precision).trace()
    assert float(short.values.var(0).sum()) > 1.2 * float(exact)


def test_the_minimiser_is_that_of_the_quadratic_objective():
    posterior, precision = _posterior()
    gradient, (_, jacobian) = _random(14, seed=8), _model()
    at = posterior.model.at
    slope = jacobian.T @ gradient + posterior.prior_precision * at
    expected = at - torch.linalg.solve(precision, slope)
    assert torch.allclose(posterior.minimiser(gradient).values[0], expected, atol=1e-6)


def test_the_likeliest_precision_maximises_the_marginal_likelihood():
    n, m = 60, 40
    matrix, weights = _random(m, n, seed=5), _random(n, seed=6) / 3
    noise = 0.5
    data = matrix @ weights + noise * _random(m, seed=7)
    linear = Linearised(lambda p: matrix @ p["w"], {"w": torch.zeros(n, dtype=torch.float64)})
    curvature = Dense(torch.eye(m, dtype=torch.float64) / noise)

    def without_and_with(precision: float) -> tuple[LaplacePosterior, LaplacePosterior]:
        zeros, prior = torch.zeros(n).double(), torch.full((n,), precision).double()
        some = {"data_diagonal": zeros, "seed": 0, "tolerance": 1e-6}
        return (
            laplace_posterior(linear, [], prior, **some),
            laplace_posterior(linear, [curvature], prior, **some),
        )

    found = likeliest_prior_precision(
        without_and_with, -data / noise**2, start=1.0, n_samples=200, at_once=50, seed=0
    )
    grid = torch.logspace(-1, 3, 400).double()
    eye = torch.eye(m, dtype=torch.float64)
    likelihood = [
        torch.distributions.MultivariateNormal(
            torch.zeros(m).double(), matrix @ matrix.T / tau + noise**2 * eye
        ).log_prob(data)
        for tau in grid
    ]
    best = float(grid[torch.stack(likelihood).argmax()])
    assert abs(math.log(found / best)) < 0.25


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_stated_residual_is_the_true_one(dtype):
    basis = torch.linalg.qr(_random(80, 80)).Q
    matrix = (basis * torch.logspace(0, 3.5, 80).double()) @ basis.T
    right = _random(3, 80, seed=1)
    solution = conjugate_gradients(
        lambda v: v @ matrix.to(dtype), right.to(dtype), tolerance=1e-3, max_iterations=2000
    )
    residual = right - solution.values.double() @ matrix
    true = residual.norm(dim=1) / right.norm(dim=1)
    assert torch.allclose(solution.residual.double(), true, rtol=0.2, atol=1e-4)
    assert float(true.max()) < 2e-3


def test_deflation_saves_iterations():
    basis = torch.linalg.qr(_random(200, 200)).Q
    values = torch.cat([torch.linspace(1, 2, 190), torch.logspace(3, 7, 10)]).double()
    matrix = (basis * values) @ basis.T
    right, ones = _random(2, 200, seed=1), torch.ones(200).double()

    def iterations(rank: int) -> int:
        precondition = deflation(lambda v: v @ matrix, ones, rank=rank, at_once=7, seed=0)
        return conjugate_gradients(
            lambda v: v @ matrix, right, precondition=precondition, tolerance=1e-6
        ).iterations

    assert iterations(20) * 3 < iterations(0)


def test_no_right_hand_side_has_the_solution_zero():
    solution = conjugate_gradients(lambda v: 2 * v, torch.zeros(2, 3), start=torch.ones(2, 3))
    assert float(solution.values.abs().max()) < 1e-6
