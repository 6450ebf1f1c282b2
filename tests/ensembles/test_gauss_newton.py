"""Gauss–Newton against closed forms of linear models, and against itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad

from bayesnn.networks import Erf, NTKLinear, mlp, prior_precision, with_prior
from bayesnn.seeds import seeded_generator
from ensembles import (
    anchored,
    deep_ensemble,
    gauss_newton,
    ntkgp_fn,
    ntkgp_lin,
    ntkgp_param,
    randomised_prior,
)
from ensembles.fit import training_problem
from ensembles.linearisation import linearise
from ensembles.losses import SquaredError
from ensembles.memory import peak_memory
from ensembles.methods.protocol import Method, Params
from ensembles.trainers.member_size import member_size
from ensembles.trainers.monitor import State
from ensembles.trainers.problem import TrainingProblem

F64 = torch.float64
METHODS = [
    deep_ensemble(), anchored(), randomised_prior(), ntkgp_param(), ntkgp_fn(), ntkgp_lin()
]  # fmt: skip
each_method = pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
REGULARISED = [method for method in METHODS if method.name != "deep_ensemble"]
N = 8


def _data(*shape: int, device: str, outputs: int = 1) -> tuple[Tensor, Tensor]:
    x = torch.randn(N, *shape, dtype=F64, generator=seeded_generator(1))
    y = torch.stack([(x.flatten(1).sum(1) + j).sin() + 1 for j in range(outputs)], dim=1)
    return x.to(device), y.to(device)


def _network(device: str, width: int = 24, outputs: int = 1) -> nn.Module:
    return mlp(
        in_features=2, out_features=outputs, width=width, depth=2, activation=Erf(),
        generator=seeded_generator(9),
    ).to(device, F64)  # fmt: skip


def _problem(
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


def _member(params: Params, i: int) -> Params:
    return {name: value[i] for name, value in params.items()}


@pytest.mark.parametrize("weighted", [False, True])
def test_a_linear_model_reaches_weighted_kernel_regression(weighted: bool, device: str) -> None:
    """Outputs that share nothing have posterior means of their own, each datum of noise σ²/w."""
    x, y = _data(2, device=device, outputs=2)
    std = (0.3, 2.0)
    network = NTKLinear(2, 2, bias_std=0.5).to(device, F64)
    weight = torch.rand(N, dtype=F64, generator=seeded_generator(5)).add(0.1).to(device)
    problem = _problem(network, x, y, anchored(), std=std, row_weight=weight if weighted else None)
    trained = gauss_newton(tolerance=1e-14).train(problem, seed=0)
    assert bool(trained.converged.all())
    points = torch.randn(5, 2, dtype=F64, generator=seeded_generator(6)).to(device)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return 1.5**2 / 2 * a @ b.T + 0.25

    for i in range(3):
        start = _member(problem.start, i)
        at_data, at_points = (functional_call(network, start, (z,)) for z in (x, points))
        found = functional_call(network, _member(trained.params, i), (points,))
        for j in range(2):
            noise = std[j] ** 2 / (weight if weighted else torch.ones_like(weight))
            gram = kernel(x, x) + torch.diag(noise)
            pull = torch.linalg.solve(gram, problem.targets[i, :, j] - at_data[:, j])
            expected = at_points[:, j] + kernel(points, x) @ pull
            torch.testing.assert_close(found[:, j], expected, rtol=1e-6, atol=1e-6)


@each_method
def test_a_weight_is_a_number_of_rows(method: Method, device: str) -> None:
    """With the same targets, a row of weight two is a row that stands there twice.

    λ starts from the mean diagonal of K, a mean over fewer rows of larger weight; given that ratio,
    every step is the same.
    """
    x, y = _data(2, device=device)
    counts = torch.tensor([1, 2, 1, 3, 1, 1, 2, 1], device=device)
    plain = _problem(_network(device), x, y, method)
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


def _values(problem: TrainingProblem, params: Params) -> Tensor:
    def one(i: int) -> Tensor:
        shift = {name: _member(given, i) for name, given in problem.shift.items()}
        return problem.value(problem.network, _member(params, i), shift, problem.inputs)

    return torch.stack([one(i) for i in range(len(problem.targets))])


def test_a_deep_ensemble_stops_at_the_flows_time_of_the_noise(device: str) -> None:
    """A linear model's residual lies between the flow's and that of one implicit Euler step.

    In an eigenvector of K = JΛ⁻¹Jᵀ with eigenvalue κ the flow leaves exp(−κt) of the residual at
    time t. Implicit Euler steps of lengths h that add up to t leave Π 1/(1 + κh), which is at least
    exp(−κt), and at most 1/(1 + κt); here t = 1/σ². It is below 1/(1 + κt) wherever κ > 0 if there
    are two steps or more.
    """
    x, y = _data(2, device=device)
    network = NTKLinear(2, 1, bias_std=1.0).to(device, F64)
    sigma = 0.8
    problem = _problem(network, x, y, deep_ensemble(), std=(sigma,))
    trained = gauss_newton().train(problem, seed=0)
    assert bool(trained.converged.all())
    assert trained.n_steps > 1
    kappa, vectors = torch.linalg.eigh(1.5**2 / 2 * x @ x.T + 1.0)
    for i in range(3):
        before, after = (
            vectors.T @ (y - functional_call(network, _member(params, i), (x,)))[:, 0]
            for params in (problem.start, trained.params)
        )
        left = (after / before)[kappa > 1e-8]
        rates = kappa[kappa > 1e-8] / sigma**2
        assert len(left) == 3
        assert bool((left > torch.exp(-rates)).all())
        assert bool((left < 1 / (1 + rates)).all())


@each_method
def test_members_end_alike_in_any_chunk(method: Method, device: str) -> None:
    """Wherever the others have got to: they end after different numbers of steps."""
    x, y = _data(2, device=device)
    network = _network(device)
    trainer = gauss_newton()
    together = trainer.train(_problem(network, x, y, method, numbers=range(6)), seed=0)
    steps = []
    for i in range(6):
        alone = trainer.train(_problem(network, x, y, method, numbers=range(i, i + 1)), seed=0)
        steps.append(alone.n_steps)
        for name, value in alone.params.items():
            difference = (together.params[name][i] - value[0]).norm()
            assert float(difference) < 1e-10 * float(value.norm())
    assert max(steps) == together.n_steps
    assert len(set(steps)) > 1 or method.name == "ntkgp_lin"


def test_ntkgp_lin_takes_one_solve(device: str) -> None:
    """J_*θ₀ + Θ_{*X}(Θ + σ²I)⁻¹(y + σε − Jθ₀), with J at the member's own θ*."""
    x, y = _data(2, device=device)
    network = _network(device)
    problem = _problem(network, x, y, ntkgp_lin())
    trained = gauss_newton().train(problem, seed=0)
    assert trained.n_steps == 1
    assert bool(trained.converged.all())
    points = torch.randn(5, 2, dtype=F64, generator=seeded_generator(6)).to(device)
    both = linearise(network, torch.cat((x, points))).at(problem.shift["tangent_at"])
    theta = both.kernel()
    start, end = (both.times(params)[..., 0] for params in (problem.start, trained.params))
    for i in range(3):
        gram = theta[i, :N, :N] + 0.01 * torch.eye(N, dtype=F64, device=device)
        pull = torch.linalg.solve(gram, problem.targets[i, :, 0] - start[i, :N])
        expected = start[i, N:] + theta[i, N:, :N] @ pull
        torch.testing.assert_close(end[i, N:], expected, rtol=1e-6, atol=1e-6)


class ConvNet(nn.Module):
    """Two convolutions and a read-out, on [n, 2, 4, 3]."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 2, stride=2)
        self.out = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.second(torch.tanh(self.first(x))))
        return self.out(h.mean((2, 3)))


class Tokens(nn.Module):
    """Layers on [n, tokens, features], and a raw parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.out = nn.Linear(3, 4), nn.Linear(4, 1)
        self.shift = nn.Parameter(torch.zeros(5, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.mix(x) + self.shift).mean(1))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: _network("cpu"), (2,)),
    "convolutions": (ConvNet, (2, 4, 3)),
    "tokens": (
        lambda: with_prior(Tokens(), precision={"shift": 4.0}),
        (5, 3),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("method", REGULARISED[:-1], ids=lambda m: m.name)
def test_members_are_stationary_points(name: str, method: Method, device: str) -> None:
    """Of the loss as the method defines it, written out here."""
    build, shape = NETWORKS[name]
    network = build().to(device, F64)
    x, y = _data(*shape, device=device)
    weight = torch.rand(N, dtype=F64, generator=seeded_generator(5)).add(0.5).to(device)
    problem = _problem(network, x, y, method, std=(1.0,), row_weight=weight)
    trained = gauss_newton(tolerance=1e-8, max_steps=500).train(problem, seed=0)
    assert bool(trained.converged.all())
    precision = prior_precision(network)
    for i in range(3):
        assert problem.center is not None
        center, targets = _member(problem.center, i), problem.targets[i]

        def loss(theta: Params, center: Params = center, targets: Tensor = targets) -> Tensor:
            residual = targets - functional_call(network, theta, (x,))
            pull = sum((precision[k] * (v - center[k]) ** 2).sum() for k, v in theta.items())
            return 0.5 * (weight @ residual[:, 0] ** 2) + 0.5 * pull

        start, end = (
            _norm({k: v / precision[k].sqrt() for k, v in grad(loss)(params).items()})
            for params in (_member(problem.start, i), _member(trained.params, i))
        )
        assert end < 1e-3 * start


def _norm(params: Params) -> float:
    return math.sqrt(sum(float((value**2).sum()) for value in params.values()))


class Recorder:
    """Keeps the state after a step, and ends there; then gives it back."""

    def __init__(self, stop_at: int | None = None, saved: State | None = None) -> None:
        self.stop_at, self.saved = stop_at, saved
        self.losses: list[Tensor] = []

    def resume(self) -> State | None:
        return self.saved

    def after_step(self, step: int, total: int, losses: Tensor, state: Callable[[], State]) -> bool:
        assert 1 <= step <= total
        self.losses.append(losses.clone())
        if step == self.stop_at:
            self.saved = {name: value.clone() for name, value in state().items()}
        return step == self.stop_at


@each_method
@pytest.mark.parametrize("stop_at", [1, 12, 30])
def test_it_goes_on_from_a_state_bit_for_bit(method: Method, stop_at: int, device: str) -> None:
    x, y = _data(2, device=device)
    problem = _problem(_network(device), x, y, method, numbers=range(6))
    trainer = gauss_newton()
    whole, watched = Recorder(), Recorder(stop_at=stop_at)
    expected = trainer.train(problem, seed=0, monitor=whole)
    stopped = trainer.train(problem, seed=0, monitor=watched)
    if watched.saved is None:
        assert stopped.n_steps < stop_at
        return
    assert stopped.n_steps == stop_at
    rest = Recorder(saved=watched.saved)
    found = trainer.train(problem, seed=0, monitor=rest)
    for name, value in expected.params.items():
        assert torch.equal(found.params[name], value)
    assert torch.equal(found.converged, expected.converged)
    losses = torch.stack(watched.losses + rest.losses)
    assert torch.equal(losses, torch.stack(whole.losses))
    start = (problem.targets - _values(problem, problem.start)).square().sum((1, 2)) / (2 * N)
    torch.testing.assert_close(losses[0], start)


def test_one_member_that_diverges_spoils_no_other(device: str) -> None:
    x, y = _data(2, device=device)
    network = _network(device)
    problem = _problem(network, x, y, ntkgp_param())
    bad = {name: value.clone() for name, value in problem.start.items()}
    bad["0.weight"][1] = math.nan
    trained = gauss_newton().train(replace(problem, start=bad, center=bad), seed=0)
    assert trained.converged.tolist() == [True, False, True]
    alone = gauss_newton().train(problem, seed=0)
    for name, value in trained.params.items():
        torch.testing.assert_close(value[::2], alone.params[name][::2], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("build", "shape", "n"),
    [
        (lambda: _network("cpu", width=256), (2,), 20),
        (lambda: _network("cpu", width=32), (2,), 400),
        (
            lambda: mlp(in_features=144, out_features=1, width=64, depth=1, activation=Erf()),
            (144,),
            300,
        ),
        (ConvNet, (2, 8, 8), 100),
    ],
    ids=["wide", "many rows", "many inputs", "convolutions"],
)
def test_it_says_what_memory_a_member_takes(
    build: Callable[[], nn.Module], shape: tuple[int, ...], n: int
) -> None:
    """What is allocated stays below the members' share and one block of activations."""
    network = build().double()
    x = torch.randn(n, *shape, dtype=F64, generator=seeded_generator(1))
    y = x.flatten(1).sum(1, keepdim=True).sin()
    members, block = 3, 2**24
    problem = _problem(network, x, y, ntkgp_param(), numbers=range(members))
    trainer = gauss_newton(max_steps=3, memory_budget=block)
    each = trainer.bytes_per_member(member_size(problem.network, ntkgp_param(), x, 1))
    used = peak_memory(lambda: trainer.train(problem, seed=0))
    assert used < members * each + 2 * block
    assert each < 5 * (used / members + 2**20)


def test_other_losses_are_refused() -> None:
    x, y = _data(2, device="cpu")
    problem = _problem(_network("cpu"), x, y, ntkgp_param())

    class Other:
        pull = 1.0

        def __call__(self, values: Tensor, targets: Tensor) -> Tensor:
            return (values - targets).abs().sum(-1)

    with pytest.raises(ValueError, match=r"squares only, and the loss is Other; use adam"):
        gauss_newton().train(replace(problem, loss=Other()), seed=0)
