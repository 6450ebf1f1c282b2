"""A prior and a read-out that travel with the network."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from bayesnn.networks import (
    draw_centred_params,
    draw_initial_params,
    prior_mean,
    prior_precision,
    readout_names,
    with_prior,
)
from bayesnn.seeds import seeded_generator


class Tokens(nn.Module):
    """Raw parameters of each kind beside known layers."""

    def __init__(self) -> None:
        super().__init__()
        generator = seeded_generator(0)
        self.position = nn.Parameter(0.3 * torch.randn(4, 6, generator=generator))
        self.scale = nn.Parameter(torch.full((6,), 2.0))
        self.body = nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6))
        self.head = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.scale * x[:, None] + self.position).mean(1))


GIVEN = {"scale": 4.0}


def variances(network: nn.Module) -> dict[str, float]:
    return {k: 1 / float(v.flatten()[0]) for k, v in prior_precision(network).items()}


def test_raw_parameters_have_the_spread_of_their_values() -> None:
    network = Tokens()
    found = variances(with_prior(network, precision=GIVEN))
    assert found["position"] == pytest.approx(float(network.position.detach().square().mean()))
    draws = [
        draw_initial_params(with_prior(network, precision=GIVEN), generator=seeded_generator(0, i))
        for i in range(2)
    ]
    for name in found:
        assert not torch.equal(draws[0][name], draws[1][name])


def test_a_raw_parameter_at_a_constant_needs_a_precision() -> None:
    with pytest.raises(ValueError, match=r"'scale' is unknown.*precision=\{'scale'"):
        with_prior(Tokens())


def test_constants_are_held_unless_they_are_named_and_then_the_constant_is_the_mean() -> None:
    held = with_prior(Tokens(), precision=GIVEN)
    assert not held.get_parameter("body.1.weight").requires_grad
    named = with_prior(Tokens(), precision=GIVEN | {"body.1": 16.0, "body.1.bias": 25.0})
    assert variances(named)["body.1.weight"] == pytest.approx(1 / 16)
    assert variances(named)["body.1.bias"] == pytest.approx(1 / 25)
    mean = prior_mean(named)
    assert torch.equal(mean["body.1.weight"], torch.ones(6))
    assert torch.equal(mean["scale"], torch.full((6,), 2.0))
    assert not mean["head.weight"].any()
    centred = draw_centred_params(named, generator=seeded_generator(1))
    for name, value in draw_initial_params(named, generator=seeded_generator(1)).items():
        torch.testing.assert_close(value, mean[name] + centred[name])


def test_the_longest_name_wins_over_every_rule() -> None:
    network = with_prior(Tokens(), precision={"": 1.0, "head": 2.0, "head.bias": torch.ones(1) * 5})
    found = variances(network)
    assert found["position"] == 1.0
    assert found["head.weight"] == 0.5
    assert found["head.bias"] == pytest.approx(0.2)


def test_an_elementwise_precision_is_kept_in_the_networks_dtype() -> None:
    each = torch.rand(6, 6) + 0.5
    network = with_prior(Tokens(), precision=GIVEN | {"body.0.weight": each}).double()
    assert torch.equal(prior_precision(network)["body.0.weight"], each.double())


def test_a_second_declaration_adds_to_the_first() -> None:
    first = with_prior(Tokens(), precision=GIVEN | {"head": 7.0}, readout="head")
    with torch.no_grad():
        first.get_parameter("position").zero_()  # what the copy has declared stays
    second = with_prior(copy.deepcopy(first), precision={"body.1.weight": 3.0})
    assert variances(second)["head.weight"] == pytest.approx(1 / 7)
    assert variances(second)["position"] == pytest.approx(
        variances(with_prior(Tokens(), precision=GIVEN))["position"]
    )
    assert second.get_parameter("body.1.weight").requires_grad
    assert not second.get_parameter("body.1.bias").requires_grad
    assert torch.equal(prior_mean(second)["body.1.weight"], torch.ones(6))
    assert readout_names(second) == ("head.weight", "head.bias")


def test_the_users_network_stays_as_it_is() -> None:
    network = Tokens().train()
    copied = with_prior(network, precision=GIVEN)
    assert network.training
    assert not copied.training
    assert all(p.requires_grad for p in network.parameters())
    with pytest.raises(ValueError, match="'scale' is unknown"):
        prior_precision(network)


def test_shared_parameters_have_the_prior_of_their_first_owner() -> None:
    network = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 5))
    network[2].weight = network[0].weight
    copied = with_prior(network, precision={"2.bias": 9.0})
    assert variances(copied)["0.weight"] == 1.0
    assert "2.weight" not in prior_precision(copied)
    renamed = with_prior(network, precision={"2.weight": 9.0})  # either name will do
    assert variances(renamed)["0.weight"] == pytest.approx(1 / 9)
    x = torch.tensor([1, 3])
    params = draw_initial_params(copied, generator=seeded_generator(0))
    tokens = params["0.weight"][x] @ params["1.weight"].T + params["1.bias"]
    expected = tokens @ params["0.weight"].T + params["2.bias"]
    torch.testing.assert_close(functional_call(copied, params, (x,)), expected)


def test_padding_stays_zero() -> None:
    params = draw_initial_params(nn.Embedding(5, 3, padding_idx=2), generator=seeded_generator(0))
    assert (params["weight"] == 0).all(1).tolist() == [False, False, True, False, False]


@pytest.mark.parametrize(
    ("precision", "message"),
    [
        ({"nowhere": 1.0}, r"precision: expected names.*'nowhere'.*position, scale"),
        ({"hea": 1.0}, r"precision: expected names.*'hea'"),
        ({"head": 0.0}, r"precision: expected finite numbers above 0 for 'head'"),
        ({"head": float("inf")}, r"precision: expected finite numbers"),
        ({"head.weight": torch.ones(2)}, r"the shape \(1, 6\) for 'head.weight', got.*\(2,\)"),
    ],
)
def test_impossible_precisions_are_refused(precision: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_prior(Tokens(), precision=GIVEN | precision)


def test_an_unknown_readout_is_refused() -> None:
    with pytest.raises(ValueError, match=r"readout: expected the name.*'tail'"):
        with_prior(Tokens(), precision=GIVEN, readout="tail")
