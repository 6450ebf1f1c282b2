"""Linear layers: formulas, priors, and the two parametrisations as one function class."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import functional_call, jacrev

from bayesnn.networks import Erf, NTKLinear, StandardLinear, mlp, prior_precision
from bayesnn.seeds import seeded_generator

LAYERS = [NTKLinear, StandardLinear]


def test_ntk_linear_is_its_formula() -> None:
    layer = NTKLinear(3, 2, weight_std=1.5, bias_std=0.2, generator=seeded_generator(0)).double()
    x = torch.randn(5, 3, dtype=torch.float64, generator=seeded_generator(1))
    assert layer.bias is not None
    expected = 1.5 / math.sqrt(3) * x @ layer.weight.T + 0.2 * layer.bias
    torch.testing.assert_close(layer(x), expected)


def test_standard_linear_is_its_formula() -> None:
    layer = StandardLinear(3, 2, generator=seeded_generator(0)).double()
    x = torch.randn(4, 5, 3, dtype=torch.float64, generator=seeded_generator(1))
    assert layer.bias is not None
    torch.testing.assert_close(layer(x), x @ layer.weight.T + layer.bias)


@given(
    fan_in=st.integers(1, 6),
    fan_out=st.integers(1, 4),
    weight_std=st.floats(0.1, 3),
    bias_std=st.floats(0.05, 3),
)
def test_both_parametrisations_are_one_function_class(
    fan_in: int, fan_out: int, weight_std: float, bias_std: float
) -> None:
    """The same standard normal draw, scaled by each prior, gives the same function and NTK."""
    x = torch.randn(3, fan_in, dtype=torch.float64, generator=seeded_generator(2))
    outputs, kernels = [], []
    for linear in LAYERS:
        layer = linear(fan_in, fan_out, weight_std=weight_std, bias_std=bias_std).double()
        generator = seeded_generator(3)
        params = {}
        for name, precision in prior_precision(layer).items():
            draw = torch.randn(precision.shape, dtype=torch.float64, generator=generator)
            params[name] = draw / precision.sqrt()
        outputs.append(functional_call(layer, params, (x,)))

        def flat_outputs(
            p: dict[str, torch.Tensor], layer: torch.nn.Module = layer
        ) -> torch.Tensor:
            return functional_call(layer, p, (x,)).flatten()

        kernels.append(
            sum(
                (j.flatten(1) / prior_precision(layer)[name].flatten()) @ j.flatten(1).T
                for name, j in jacrev(flat_outputs)(params).items()
            )
        )
    torch.testing.assert_close(outputs[0], outputs[1])
    torch.testing.assert_close(kernels[0], kernels[1])


@pytest.mark.parametrize("linear", LAYERS)
def test_new_layers_are_drawn_from_their_prior(linear: type[NTKLinear | StandardLinear]) -> None:
    layer = linear(400, 300, weight_std=1.5, bias_std=0.05, generator=seeded_generator(4))
    for name, precision in prior_precision(layer).items():
        white = getattr(layer, name).detach() * precision.sqrt()
        n = white.numel()
        assert abs(float(white.mean())) < 4 / math.sqrt(n)
        assert abs(float(white.var()) - 1) < 4 * math.sqrt(2 / n)


@pytest.mark.parametrize("linear", LAYERS)
def test_without_bias_there_is_no_bias_parameter(
    linear: type[NTKLinear | StandardLinear],
) -> None:
    layer = linear(3, 2, bias_std=0)
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    assert bool((layer(torch.zeros(1, 3)) == 0).all())


@pytest.mark.parametrize("linear", LAYERS)
@pytest.mark.parametrize(
    "bad", [{"weight_std": 0}, {"bias_std": -1}, {"in_features": 0}, {"out_features": -1}]
)
def test_impossible_settings_are_refused(
    linear: type[NTKLinear | StandardLinear], bad: dict[str, float]
) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        linear(**({"in_features": 2, "out_features": 2} | bad))


def test_a_generator_fixes_the_network() -> None:
    def make() -> torch.nn.Module:
        return mlp(
            in_features=2, out_features=1, width=4, depth=2, activation=Erf(),
            generator=seeded_generator(7),
        )  # fmt: skip

    state = torch.random.get_rng_state()
    for a, b in zip(make().parameters(), make().parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(state, torch.random.get_rng_state())


def test_mlp_is_its_layers() -> None:
    net = mlp(in_features=2, out_features=3, width=4, depth=2, activation=Erf(), bias_std=0.1)
    x = torch.randn(5, 2, generator=seeded_generator(0))
    hidden = torch.erf(net[2](torch.erf(net[0](x))))
    torch.testing.assert_close(net(x), net[4](hidden))
    assert len(net) == 5
