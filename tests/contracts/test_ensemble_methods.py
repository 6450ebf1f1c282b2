"""Laws of every ensemble method, trained by every trainer."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev

from bayesnn.networks import NTKLinear, prior_precision
from bayesnn.seeds import seeded_generator
from ensembles import EnsembleRegressor, adam, anchored, gauss_newton
from ensembles.evaluation import member_values
from ensembles.fit import fit_members
from ensembles.losses import SquaredError
from ensembles.member_problem import draw_member, training_problem
from ensembles.methods.protocol import MemberDraw, Method, Params
from ensembles.trainers.problem import Trainer, TrainingProblem
from tests.contracts.ensemble_cases import (
    COLUMNS,
    LOSS,
    METHODS,
    NOISE,
    REGULARISED,
    SEED,
    each_method,
    erf_network,
    member_draws,
    params_norm,
    sine_data,
)
from tests.reference.erf_kernels import erf_mlp_kernels


@pytest.mark.parametrize(
    ("method", "n_nngp", "n_ntk"), COLUMNS, ids=[method.name for method in METHODS]
)
def test_covariance_at_initialisation(method: Method, n_nngp: int, n_ntk: int, device: str) -> None:
    """The covariance of f̃ is K, K, 2K, Θ, 2Θ and Θ, and none of the others.

    For m members the entry's standard error is √((C_ii C_jj + C_ij²)/m) in the Gaussian limit; five
    of them, and 5 % of the diagonal for the finite width, bound the difference. The trace tells the
    six columns apart: they differ by a factor of 2 or more.
    """
    n_members, width = 600, 96
    x = np.array([[-1.5], [-0.3], [0.4], [2.0]])
    nngp, ntk = erf_mlp_kernels(x, x, depth=2, weight_std=1.5, bias_std=0.05)
    expected = n_nngp * nngp + n_ntk * ntk
    network = erf_network(device, width=width, in_features=1)
    values = []
    for first in range(0, n_members, 200):  # all at once would take much memory
        start, shift = member_draws(method, network, range(first, first + 200))
        with torch.no_grad():
            x_device = torch.tensor(x, device=device)
            values.append(member_values(method, network, start, shift, x_device)[..., 0])
    found = torch.cov(torch.cat(values).T).cpu().numpy()
    diagonal = np.diag(expected)
    bound = 5 * np.sqrt((np.outer(diagonal, diagonal) + expected**2) / n_members)
    bound += 0.05 * np.sqrt(np.outer(diagonal, diagonal))
    assert (np.abs(found - expected) < bound).all()
    for other in (nngp, 2 * nngp, ntk, 2 * ntk):
        if not np.array_equal(other, expected):
            assert not 0.84 < np.trace(found) / np.trace(other) < 1.19


@each_method
def test_draws_depend_on_the_seed_and_the_members_number_alone(method: Method, device: str) -> None:
    """Bit for bit, in any ensemble and chunk, and the parameters for any number of rows."""
    network, (x, y) = erf_network(device), sine_data(device)

    def problem(numbers: range, rows: int = 6, seed: int = SEED) -> TrainingProblem:
        return training_problem(
            network, x[:rows], y[:rows], method=method, numbers=numbers, loss=LOSS, seed=seed
        )

    large = problem(range(5))
    parts = (problem(range(3, 4)), problem(range(2, 5)), problem(range(3, 4), rows=2))
    for part, numbers in zip(parts, (slice(3, 4), slice(2, 5), slice(3, 4)), strict=True):
        for name, value in part.start.items():
            assert torch.equal(value, large.start[name][numbers])
        for kind, params in part.shift.items():
            for name, value in params.items():
                assert torch.equal(value, large.shift[kind][name][numbers])
    for name, value in large.start.items():
        assert not torch.equal(value[0], value[1])
        assert not torch.equal(value[0], problem(range(1), seed=SEED + 1).start[name][0])
    draws = [draw_member(method, network, y, seed=SEED, number=1)[1] for _ in range(2)]
    for epsilon in draws:
        assert (epsilon is not None) == method.perturbs_targets
    if draws[0] is not None and draws[1] is not None:
        assert torch.equal(draws[0], draws[1])


@each_method
@pytest.mark.parametrize(
    "trainer", [gauss_newton(), adam(steps=100, batch_size=4)], ids=["gauss_newton", "adam"]
)
def test_chunks_train_the_same_members(method: Method, trainer: Trainer, device: str) -> None:
    """‖Δ‖/‖θ‖ ≤ 1e-10 for each parameter of each member, whatever is trained beside it.

    Gauss–Newton runs until it stops by itself: rounding grows in its steps.
    """
    network, (x, y) = erf_network(device, width=24), sine_data(device, n=20)
    fits = [
        fit_members(
            network, x, y, method=method, trainer=replace(trainer, memory_budget=budget),
            n_members=n_members, loss=LOSS, seed=SEED,
        )
        for budget, n_members in ((2**30, 4), (1, 3))
    ]  # fmt: skip
    for name, value in fits[1].params.items():
        difference = (fits[0].params[name][:3] - value).flatten(1).norm(dim=1)
        assert bool((difference <= 1e-10 * value.flatten(1).norm(dim=1)).all())


@pytest.mark.parametrize("method", REGULARISED, ids=lambda m: m.name)
def test_gauss_newton_finds_a_stationary_point_of_the_methods_loss(
    method: Method, device: str
) -> None:
    """At the minimum of the loss, written out here by hand, its gradient vanishes.

    A pull towards the wrong centre would leave more than 5e-2 of the first gradient. Without a
    regulariser the minimum lies at an infinite time of the flow: deep ensembles are left out.
    """
    network, (x, y) = erf_network(device), sine_data(device)
    trainer = gauss_newton(max_steps=150, tolerance=1e-13)
    fitted = fit_members(
        network, x, y, method=method, trainer=trainer, n_members=2, loss=LOSS, seed=SEED
    )
    for number in range(2):
        draw, epsilon = draw_member(method, network, y, seed=SEED, number=number)
        assert epsilon is not None
        targets = y + NOISE.to(y) * epsilon
        loss = partial(_loss_by_hand, method.name, network, draw, x, targets)
        at_start = params_norm(grad(loss)(draw.start))
        at_end = params_norm(grad(loss)({k: v[number] for k, v in fitted.params.items()}))
        assert at_end < 2e-3 * at_start


def _loss_by_hand(
    name: str, network: nn.Module, draw: MemberDraw, x: Tensor, targets: Tensor, theta: Params
) -> Tensor:
    def f(params: Params) -> Tensor:
        return functional_call(network, params, (x,))

    def jacobian_times(at: Params, direction: Params) -> Tensor:
        rows = jacrev(f)(at)
        each = [(j.flatten(2) @ direction[key].flatten()) for key, j in rows.items()]
        return torch.stack(each).sum(0)

    initial, second = draw.start, next(reversed(draw.shift.values()), {})
    zero = {key: torch.zeros_like(value) for key, value in initial.items()}
    value, center = {
        "anchored": lambda: (f(theta), initial),
        "randomised_prior": lambda: (f(theta) + f(second), zero),
        "ntkgp_param": lambda: (f(theta) + jacobian_times(initial, second), initial),
        "ntkgp_fn": lambda: (f(theta) + jacobian_times(initial, second), zero),
        "ntkgp_lin": lambda: (jacobian_times(second, theta), initial),
    }[name]()
    pull = sum(
        (precision * (theta[key] - center[key]) ** 2).sum()
        for key, precision in prior_precision(network).items()
    )
    misfit = 0.5 * ((targets - value) ** 2).mean()
    return misfit + LOSS.pull / (2 * len(x)) * pull


def test_adam_goes_to_the_same_minimum_as_gauss_newton(device: str) -> None:
    """A linear network's loss has one minimum, so both trainers must find it."""
    network = NTKLinear(2, 1, bias_std=1.0, generator=seeded_generator(0)).to(device, torch.float64)
    x, y = sine_data(device)
    fits = [
        fit_members(
            network, x, y, method=anchored(), trainer=trainer, n_members=2, loss=LOSS,
            seed=SEED,
        )
        for trainer in (gauss_newton(tolerance=1e-12), adam(steps=3000, learning_rate=0.05))
    ]  # fmt: skip
    for name, value in fits[0].params.items():
        torch.testing.assert_close(fits[1].params[name], value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", REGULARISED, ids=lambda m: m.name)
def test_members_of_a_linear_model_are_posterior_samples(method: Method, device: str) -> None:
    """Sample-then-optimise is exact where the network is linear in its parameters.

    That holds for every method whose targets are perturbed, and for none without.

    With m members, means agree to 5 standard errors and variances to 5·√(2/m) of themselves.
    """
    n_members = 600
    network = NTKLinear(2, 1, bias_std=1.0, generator=seeded_generator(0)).to(device, torch.float64)
    x, y = sine_data(device)
    points = torch.tensor([[3.0, -1.0], [0.0, 0.2]], dtype=torch.float64, device=device)
    fitted = fit_members(
        network, x, y, method=method, trainer=gauss_newton(tolerance=1e-12), n_members=n_members,
        loss=SquaredError(noise_std=5 * NOISE), seed=SEED,
    )  # fmt: skip
    values = member_values(method, network, fitted.params, fitted.shift, points)[..., 0]

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return 1.5**2 / 2 * a @ b.T + 1.0

    gram = kernel(x, x) + (5 * float(NOISE[0])) ** 2 * torch.eye(
        len(x), dtype=x.dtype, device=device
    )
    mean = kernel(points, x) @ torch.linalg.solve(gram, y[:, 0])
    explained = kernel(points, x) @ torch.linalg.solve(gram, kernel(x, points))
    variance = (kernel(points, points) - explained).diagonal()
    assert bool(((values.mean(0) - mean).abs() < 5 * (variance / n_members).sqrt()).all())
    assert bool(((values.var(0) / variance - 1).abs() < 5 * math.sqrt(2 / n_members)).all())


@each_method
def test_total_is_epistemic_plus_noise_and_seeds_repeat(method: Method, device: str) -> None:
    x, y = sine_data("cpu")
    post = []
    for _ in range(2):
        model = EnsembleRegressor(
            erf_network("cpu"), method=method, n_members=4, noise_std=0.3, random_state=5,
            device=device, trainer=gauss_newton(max_steps=5),
        ).fit(x, y)  # fmt: skip
        post.append(model.posterior(x, keep_members=True))
    assert post[0].members is not None
    members = post[0].members
    torch.testing.assert_close(post[0].epistemic_variance, members.var(0))
    torch.testing.assert_close(post[0].variance, post[0].epistemic_variance + 0.09)
    assert torch.equal(post[0].mean, post[1].mean)
    assert torch.equal(post[0].variance, post[1].variance)
