"""NTKLinear's factor may be applied to any of three tensors: nobody must see to which."""

from __future__ import annotations

import math

import pytest
import torch
from torch.func import functional_call, vmap

from bayesnn.networks import NTKLinear
from bayesnn.seeds import seeded_generator


@pytest.mark.parametrize("n", [1, 20, 63, 65, 300])
@pytest.mark.parametrize(("fan_in", "fan_out"), [(1, 40), (40, 1), (30, 30), (100, 2)])
def test_the_layer_is_its_formula(n: int, fan_in: int, fan_out: int) -> None:
    layer = NTKLinear(
        fan_in, fan_out, weight_std=1.7, bias_std=0.3, generator=seeded_generator(0)
    ).double()
    x = torch.randn(n, fan_in, dtype=torch.float64, generator=seeded_generator(1))
    assert layer.bias is not None
    expected = 1.7 / math.sqrt(fan_in) * x @ layer.weight.T + 0.3 * layer.bias
    torch.testing.assert_close(layer(x), expected, rtol=1e-13, atol=1e-13)
    params = {name: torch.stack([p, 2 * p]).detach() for name, p in layer.named_parameters()}
    found = vmap(lambda p: functional_call(layer, p, (x,)))(params)
    torch.testing.assert_close(found[1], 2 * expected.detach(), rtol=1e-13, atol=1e-13)
