"""Values in chunks are the values at once; the budget holds; covariances are those of numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bayesnn.networks import Erf, mlp
from bayesnn.seeds import seeded_generator
from ensembles import deep_ensemble, ntkgp_param
from ensembles.evaluation import member_values, shift_values
from ensembles.member_problem import draw_member
from ensembles.memory import peak_memory
from ensembles.methods.protocol import Method
from ensembles.prediction import EnsembleFunction, member_covariance

N_MEMBERS = 5


def network(width: int = 32, out_features: int = 2) -> nn.Module:
    return mlp(
        in_features=3, out_features=out_features, width=width, depth=2, activation=Erf(),
        generator=seeded_generator(0),
    ).double()  # fmt: skip


def function(net: nn.Module, method: Method, n_members: int = N_MEMBERS) -> EnsembleFunction:
    y = torch.zeros(1, 1, dtype=torch.float64)
    draws = [draw_member(method, net, y, seed=0, number=i)[0] for i in range(n_members)]

    def stack(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {name: torch.stack([part[name] for part in parts]) for name in parts[0]}

    shift = {name: stack([draw.shift[name] for draw in draws]) for name in draws[0].shift}
    return EnsembleFunction(
        network=net, method=method, params=stack([draw.start for draw in draws]), shift=shift,
        in_units=lambda x, dtype: (2 * x).to(dtype),
    )  # fmt: skip


def points(n: int) -> Tensor:
    return torch.randn(n, 3, dtype=torch.float64, generator=seeded_generator(1))


each_method = pytest.mark.parametrize("method", [deep_ensemble(), ntkgp_param()])


@each_method
@pytest.mark.parametrize("budget", [1, 30_000, None])
def test_chunks_change_nothing(method: Method, budget: int | None) -> None:
    ensemble, x = function(network(), method), points(50)
    parts = list(ensemble.chunks([x[:1], x[1:20], x[20:]], memory_budget=budget))
    assert len(parts) == (50 if budget == 1 else len(parts))
    assert (len(parts) == 3) == (budget is None)
    torch.testing.assert_close(torch.cat(parts, dim=1), ensemble(x))


@each_method
def test_values_are_those_of_each_member_alone(method: Method) -> None:
    """Value plus δ, in one pass over the members, equal to the two of each member apart."""
    ensemble, x = function(network(), method), points(4)
    found = ensemble(x)
    assert found.shape == (N_MEMBERS, 4, 2)
    for m in range(N_MEMBERS):
        params = {name: value[m] for name, value in ensemble.params.items()}
        fixed = {
            name: {k: v[m] for k, v in params.items()} for name, params in ensemble.shift.items()
        }
        value = method.value(ensemble.network, params, fixed, 2 * x)
        added = method.shift(ensemble.network, fixed, 2 * x)
        torch.testing.assert_close(found[m], value if added is None else value + added)


@pytest.mark.parametrize("budget", [1, None])
def test_the_fixed_function_in_chunks(budget: int | None) -> None:
    method, net, x = ntkgp_param(), network(), points(50)
    ensemble = function(net, method)
    whole = member_values(method, net, ensemble.params, ensemble.shift, x)
    plain = member_values(method, net, ensemble.params, {}, x)
    found = shift_values(method, net, ensemble.shift, x, budget)
    assert found is not None
    torch.testing.assert_close(found, whole - plain)
    assert shift_values(deep_ensemble(), net, {}, x) is None


@each_method
@pytest.mark.parametrize("width", [16, 128])
def test_a_chunks_memory_stays_within_the_budget(method: Method, width: int) -> None:
    """And uses at least a third of it: smaller chunks would be slow."""
    ensemble, x = function(network(width), method), points(4000)
    budget = 2**22
    chunks = ensemble.chunks([x], memory_budget=budget)
    next(chunks)  # the probe
    peak = peak_memory(lambda: next(chunks))
    assert budget / 3 < peak <= budget


class Wide(nn.Module):
    """Few parameters, large activations: a layer that sees each point's 32 × 32 neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        image = x.unsqueeze(1).repeat(1, 1024, 1)
        result: Tensor = self.inner(image).mean(1)
        return result


def test_activations_are_measured_not_guessed_from_the_parameters() -> None:
    ensemble, x = function(Wide(), deep_ensemble()), points(300)
    budget = 2**22
    chunks = ensemble.chunks([x], memory_budget=budget)
    next(chunks)
    assert budget / 3 < peak_memory(lambda: next(chunks)) <= budget


@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_covariance_is_that_of_numpy(offset: float) -> None:
    members = torch.randn(7, 9, 2, dtype=torch.float64, generator=seeded_generator(2))
    found = member_covariance(members + offset)
    assert found.shape == (2, 9, 9)
    for j in range(2):
        expected = np.cov(members[..., j].numpy().T)
        np.testing.assert_allclose(found[j], expected, rtol=1e-6, atol=1e-6 * (offset > 0) + 1e-12)
    torch.testing.assert_close(found, found.mT)
