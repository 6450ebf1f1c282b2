"""Laws of every ensemble method, trained by every trainer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad

from bayesnn.networks import Erf, NTKLinear, mlp, prior_precision, readout_names
from bayesnn.seeds import seeded_generator
from ensembles import EnsembleRegressor, adam, deep_ensemble, gauss_newton, ntkgp_param
from ensembles.evaluation import member_values
from ensembles.fit import draw_member, fit_members, training_problem
from ensembles.losses import SquaredError
from ensembles.methods.ntkgp_param import NTKGPParam
from ensembles.methods.protocol import MemberDraw, Method, Params, Shift
from ensembles.trainers.problem import Trainer
from tests.reference.erf_kernels import erf_mlp_kernels

METHODS = [deep_ensemble(), ntkgp_param()]
TRAINERS = [gauss_newton(max_steps=8), adam(steps=30, batch_size=4)]
each_method = pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
each_trainer = pytest.mark.parametrize("trainer", TRAINERS, ids=["gauss_newton", "adam"])
SEED = 3
NOISE = torch.tensor([0.1], dtype=torch.float64)
LOSS = SquaredError(noise_std=NOISE)


class AnchoredForTest(NTKGPParam):
    """NTKGP-param without δ: exact for a model that is all read-out."""

    def draw(self, network: nn.Module, *, generator: torch.Generator) -> MemberDraw:
        return MemberDraw(start=super().draw(network, generator=generator).start, shift={})


def _network(device: str, width: int = 16, in_features: int = 2, depth: int = 2) -> nn.Module:
    network = mlp(
        in_features=in_features, out_features=1, width=width, depth=depth, activation=Erf(),
        weight_std=1.5, bias_std=0.05, generator=seeded_generator(9),
    )  # fmt: skip
    return network.to(device, torch.float64)


def _data(device: str, n: int = 6) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, 2, dtype=torch.float64, generator=seeded_generator(1))
    return x.to(device), (x.sum(1, keepdim=True).sin() + 1.0).to(device)


def _stack(parts: list[Params]) -> Params:
    return {name: torch.stack([part[name] for part in parts]) for name in parts[0]}


def _draw(method: Method, network: nn.Module, numbers: range) -> tuple[Params, Shift]:
    y = next(network.parameters()).new_zeros(1, 1)
    draws = [draw_member(method, network, y, seed=SEED, number=i)[0] for i in numbers]
    shift = {name: _stack([d.shift[name] for d in draws]) for name in draws[0].shift}
    return _stack([d.start for d in draws]), shift


@pytest.mark.parametrize(
    ("method", "column"), [(deep_ensemble(), 0), (ntkgp_param(), 1)], ids=["K", "NTK"]
)
def test_covariance_at_initialisation(method: Method, column: int, device: str) -> None:
    """The covariance of f̃ is K for deep ensembles and Θ for NTKGP-param.

    For m members the entry's standard error is √((C_ii C_jj + C_ij²)/m) in the Gaussian limit; five
    of them, and 5 % of the diagonal for the finite width, bound the difference. K and Θ differ by
    far more.
    """
    n_members, width = 600, 96
    x = np.array([[-1.5], [-0.3], [0.4], [2.0]])
    kernels = erf_mlp_kernels(x, x, depth=2, weight_std=1.5, bias_std=0.05)
    expected = kernels[column]
    network = _network(device, width=width, in_features=1)
    values = []
    for first in range(0, n_members, 200):  # all at once would take much memory
        start, shift = _draw(method, network, range(first, first + 200))
        with torch.no_grad():
            x_device = torch.tensor(x, device=device)
            values.append(member_values(method, network, start, shift, x_device)[..., 0])
    found = torch.cov(torch.cat(values).T).cpu().numpy()
    diagonal = np.diag(expected)
    bound = 5 * np.sqrt((np.outer(diagonal, diagonal) + expected**2) / n_members)
    bound += 0.05 * np.sqrt(np.outer(diagonal, diagonal))
    assert (np.abs(found - expected) < bound).all()
    assert (np.abs(np.diag(found) - np.diag(kernels[1 - column])) > np.diag(bound)).all()


@each_method
def test_members_do_not_depend_on_one_another(method: Method, device: str) -> None:
    """Draws are the same, bit for bit, in any ensemble and any chunk."""
    network, (x, y) = _network(device), _data(device)
    one_step = adam(steps=1, learning_rate=1e-30)  # leaves the start as it is
    small = fit_members(
        network, x, y, method=method, trainer=one_step, n_members=2, loss=LOSS, seed=SEED
    )
    tiny_budget = adam(steps=1, learning_rate=1e-30, memory_budget=1)  # one member a chunk
    large = fit_members(
        network, x, y, method=method, trainer=tiny_budget, n_members=5, loss=LOSS, seed=SEED
    )
    for name, value in small.params.items():
        assert torch.equal(value, large.params[name][:2])
        assert not torch.equal(value[0], value[1])
    for kind, params in small.shift.items():
        for name, value in params.items():
            assert torch.equal(value, large.shift[kind][name][:2])
    alone = draw_member(method, network, y, seed=SEED, number=1)
    again = draw_member(method, network, y, seed=SEED, number=1)
    assert (alone[1] is not None) == method.perturbs_targets
    if alone[1] is not None and again[1] is not None:
        assert torch.equal(alone[1], again[1])


@each_method
@each_trainer
def test_side_by_side_is_a_loop_over_members(method: Method, trainer: Trainer, device: str) -> None:
    network, (x, y) = _network(device), _data(device)
    together = fit_members(
        network, x, y, method=method, trainer=trainer, n_members=4, loss=LOSS, seed=SEED
    )
    for number in range(4):
        problem = training_problem(
            network, x, y, method=method, numbers=range(number, number + 1), loss=LOSS,
            seed=SEED,
        )  # fmt: skip
        alone = trainer.train(problem, seed=SEED)
        for name, value in alone.params.items():
            torch.testing.assert_close(
                together.params[name][number], value[0], rtol=1e-8, atol=1e-9
            )


@pytest.mark.parametrize("method", [ntkgp_param()], ids=lambda m: m.name)
def test_gauss_newton_finds_a_stationary_point_of_the_methods_loss(
    method: Method, device: str
) -> None:
    """At the minimum of the loss, written out here by hand, its gradient vanishes.

    Without a regulariser the minimum lies at an infinite time of the flow, so deep ensembles are
    left out.
    """
    network, (x, y) = _network(device), _data(device)
    trainer = gauss_newton(max_steps=400, tolerance=1e-13)
    fitted = fit_members(
        network, x, y, method=method, trainer=trainer, n_members=3, loss=LOSS, seed=SEED
    )
    for number in range(3):
        draw, epsilon = draw_member(method, network, y, seed=SEED, number=number)
        assert epsilon is not None
        fixed = method.shift(network, draw.shift, x)

        targets = y + NOISE.to(y) * epsilon - fixed

        def loss(
            theta: Params,
            start: Params = draw.start,
            targets: Tensor = targets,
        ) -> Tensor:
            residual = targets - functional_call(network, theta, (x,))
            pull = sum(
                (precision * (theta[name] - start[name]) ** 2).sum()
                for name, precision in prior_precision(network).items()
            )
            return 0.5 * (residual**2).mean() + float(NOISE[0]) ** 2 / (2 * len(x)) * pull

        at_start = _norm(grad(loss)(draw.start))
        at_end = _norm(grad(loss)({k: v[number] for k, v in fitted.params.items()}))
        assert at_end < 1e-5 * at_start


def _norm(params: Params) -> float:
    return math.sqrt(sum(float((value**2).sum()) for value in params.values()))


def test_adam_goes_to_the_same_minimum_as_gauss_newton(device: str) -> None:
    """A linear network's loss has one minimum, so both trainers must find it."""
    network = NTKLinear(2, 1, bias_std=1.0, generator=seeded_generator(0)).to(device, torch.float64)
    x, y = _data(device)
    fits = [
        fit_members(
            network, x, y, method=AnchoredForTest(), trainer=trainer, n_members=2, loss=LOSS,
            seed=SEED,
        )
        for trainer in (gauss_newton(tolerance=1e-12), adam(steps=3000, learning_rate=0.05))
    ]  # fmt: skip
    for name, value in fits[0].params.items():
        torch.testing.assert_close(fits[1].params[name], value, rtol=1e-4, atol=1e-4)


def test_members_of_a_linear_model_are_posterior_samples(device: str) -> None:
    """Sample-then-optimise is exact where the network is linear in its parameters.

    With m members, means agree to 5 standard errors and variances to 5·√(2/m) of themselves.
    """
    n_members = 3000
    network = NTKLinear(2, 1, bias_std=1.0, generator=seeded_generator(0)).to(device, torch.float64)
    x, y = _data(device)
    points = torch.tensor([[3.0, -1.0], [0.0, 0.2]], dtype=torch.float64, device=device)
    method = AnchoredForTest()
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
    x, y = _data("cpu")
    post = []
    for _ in range(2):
        model = EnsembleRegressor(
            _network("cpu"), method=method, n_members=4, noise_std=0.3, random_state=5,
            device=device, trainer=gauss_newton(max_steps=5),
        ).fit(x, y)  # fmt: skip
        post.append(model.posterior(x, keep_members=True))
    assert post[0].members is not None
    members = post[0].members
    torch.testing.assert_close(post[0].epistemic_variance, members.var(0))
    torch.testing.assert_close(post[0].variance, post[0].epistemic_variance + 0.09)
    assert torch.equal(post[0].mean, post[1].mean)
    assert torch.equal(post[0].variance, post[1].variance)


def test_ntkgp_shift_leaves_the_readout_out(device: str) -> None:
    network = _network(device)
    _, shift = _draw(ntkgp_param(), network, range(2))
    for name, value in shift["direction"].items():
        assert bool((value == 0).all()) == (name in readout_names(network))
