"""Laws that hold for every kind of network: convolutions, residual networks, a transformer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.parametrizations import weight_norm

from bayesnn.networks import NTKConv2d, Residual, convnet, prior_precision, resnet, with_prior
from bayesnn.seeds import seeded_generator
from ensembles import adam, gauss_newton, ntkgp_lin, ntkgp_param
from ensembles.evaluation import member_values, shift_values
from ensembles.fit import fit_members
from ensembles.losses import SquaredError
from ensembles.member_problem import draw_member, training_problem
from ensembles.methods.protocol import Params
from ensembles.preparation import prepared
from ensembles.side_by_side import over_members, runs_side_by_side

NOISE = 0.1
LOSS = SquaredError(noise_std=torch.tensor([NOISE], dtype=torch.float64))
SEED = 2


class Transformer(nn.Module):
    """As a user would write it: an embedding, a raw position, torch's layer, a read-out."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 8)
        self.position = nn.Parameter(0.5 * torch.randn(5, 8, generator=seeded_generator(0)))
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
        self.head = nn.Linear(8, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.layer(self.embedding(tokens.long()) + self.position)
        return self.head(hidden.mean(1))


class ResidualImages(nn.Module):
    """Convolutions of torch.nn about a skip connection, with group normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.branch = nn.Sequential(nn.GroupNorm(2, 4), nn.SiLU(), nn.Conv2d(4, 4, 3, padding=1))
        self.skip = nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head((self.skip(x) + self.branch(x)).mean((2, 3)))


class Recurrent(nn.Module):
    """What vmap and forward-mode derivatives cannot take."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(3, 4, batch_first=True)
        self.head = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(x)[0][:, -1])


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "convnet": (
        lambda: convnet(in_channels=1, out_features=1, width=4, depth=2, activation=nn.Tanh()),
        (1, 5, 5),
    ),
    "resnet": (
        lambda: resnet(in_features=3, out_features=1, width=8, depth=2, activation=nn.SiLU()),
        (3,),
    ),
    "residual images, NTK": (
        lambda: nn.Sequential(
            NTKConv2d(1, 3, kernel_size=3),
            Residual(nn.Sequential(nn.Tanh(), NTKConv2d(3, 3, kernel_size=3, padding=1))),
            NTKConv2d(3, 1, kernel_size=3),
            nn.Flatten(),
        ),
        (1, 5, 5),
    ),
    "residual images, torch": (ResidualImages, (1, 5, 5)),
    "transformer": (Transformer, (5,)),
    "recurrent": (Recurrent, (4, 3)),
    # a rule of vmap that gives other shapes, and one that is missing
    "learnt slope": (
        lambda: nn.Sequential(nn.Linear(3, 4), nn.PReLU(), nn.Linear(4, 1)),
        (3,),
    ),
    "normalised weights": (
        lambda: nn.Sequential(weight_norm(nn.Linear(3, 4)), nn.Tanh(), nn.Linear(4, 1)),
        (3,),
    ),
}
ONE_BY_ONE = {"recurrent", "normalised weights"}
each_network = pytest.mark.parametrize("name", NETWORKS)


def _case(name: str, device: str) -> tuple[nn.Module, Tensor, Tensor]:
    make, shape = NETWORKS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = with_prior(make().to(device, torch.float64))
    generator = seeded_generator(1)
    x = torch.randn(8, *shape, dtype=torch.float64, generator=generator)
    if name == "transformer":
        x = torch.randint(0, 7, (8, *shape), generator=generator).double()
    y = x.flatten(1).sum(1, keepdim=True).sin()
    return network, x.to(device), y.to(device)


@each_network
def test_members_differ_in_every_parameter(name: str, device: str) -> None:
    network, x, y = _case(name, device)
    problem = training_problem(
        network, x, y, method=ntkgp_param(), numbers=range(2), loss=LOSS, seed=SEED
    )
    assert set(problem.start) == {k for k, p in network.named_parameters() if p.requires_grad}
    for value in problem.start.values():
        assert bool((value[0] != value[1]).any())


@each_network
def test_side_by_side_is_a_loop(name: str, device: str) -> None:
    """Trained alone, by a loop and all at once, members are the same to 1e-10."""
    network, x, y = _case(name, device)
    method, trainer = ntkgp_param(), adam(steps=20, batch_size=4)
    fitted = fit_members(
        network, x, y, method=method, trainer=trainer, n_members=3, loss=LOSS, seed=SEED
    )
    network = prepared(network, method, x)
    problem = training_problem(
        network, x, y, method=method, numbers=range(2, 3), loss=LOSS, seed=SEED
    )
    alone = trainer.train(problem, seed=SEED)
    for key, value in alone.params.items():
        difference = float((fitted.params[key][2] - value[0]).norm())
        assert difference <= 1e-10 * float(value.norm())
    with torch.no_grad():
        values = member_values(method, network, fitted.params, fitted.shift, x)
        shift = shift_values(method, network, fitted.shift, x)
        assert shift is not None
        for i in range(3):
            one = {key: value[i] for key, value in fitted.params.items()}
            expected = functional_call(network, one, (x,)) + shift[i]
            torch.testing.assert_close(values[i], expected)
        each = over_members(
            lambda p, _: functional_call(network, p, (x,)), fitted.params, {}, network=network
        )
        torch.testing.assert_close(each, values - shift)
    assert runs_side_by_side(network) == (name not in ONE_BY_ONE)


@each_network
def test_ntkgp_members_are_those_of_the_explicit_jacobian(name: str, device: str) -> None:
    """δ is J·θ* by hand, and NTKGP-lin is the posterior sample of JΛ⁻¹Jᵀ at its own θ*."""
    network, x, y = _case(name, device)
    n_train = 5
    draw, _ = draw_member(
        ntkgp_param(), prepared(network, ntkgp_param(), x), y, seed=SEED, number=0
    )
    rows = _rows(network, draw.start, x)
    expected = sum(r.flatten(1) @ draw.shift["direction"][k].flatten() for k, r in rows.items())
    found = ntkgp_param().shift(network, draw.shift, x)
    torch.testing.assert_close(found[:, 0], expected)

    fitted = fit_members(
        network, x[:n_train], y[:n_train], method=ntkgp_lin(), n_members=2, loss=LOSS, seed=SEED,
        trainer=gauss_newton(tolerance=1e-13),
    )  # fmt: skip
    values = member_values(ntkgp_lin(), network, fitted.params, fitted.shift, x)
    precision = prior_precision(network)
    for number in range(2):
        draw, epsilon = draw_member(ntkgp_lin(), network, y[:n_train], seed=SEED, number=number)
        assert epsilon is not None
        rows = _rows(network, draw.shift["tangent_at"], x)
        white = torch.cat([(r / precision[k].sqrt()).flatten(1) for k, r in rows.items()], dim=1)
        start = torch.cat([(draw.start[k] * precision[k].sqrt()).flatten() for k in rows])
        at_data = white[:n_train]
        gram = at_data @ at_data.T + NOISE**2 * torch.eye(n_train).to(x)
        residual = y[:n_train, 0] + NOISE * epsilon[:, 0] - at_data @ start
        posterior = white @ (start + at_data.T @ torch.linalg.solve(gram, residual))
        torch.testing.assert_close(values[number, :, 0], posterior, rtol=1e-6, atol=1e-6)


def _rows(network: nn.Module, at: Params, x: Tensor) -> dict[str, Tensor]:
    """Return the Jacobian [n, ...], by plain autograd and number by number."""
    leaves = {name: value.clone().requires_grad_() for name, value in at.items()}
    values = functional_call(network, leaves, (x,))[:, 0]
    each = [
        torch.autograd.grad(value, list(leaves.values()), retain_graph=True) for value in values
    ]
    return {name: torch.stack([rows[i] for rows in each]) for i, name in enumerate(leaves)}
