"""Kernels of networks drawn at random are what wide finite networks have on average."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import functional_call, jacrev

from bayesnn.kernels import nngp, ntk
from bayesnn.networks import draw_initial_params, prior_precision
from bayesnn.seeds import seeded_generator
from tests.reference.random_networks import KINDS, RandomNetwork, random_networks

WIDTHS = {"vectors": 128, "sequences": 96, "images": 32}
N_DRAWS = 50


def _products(network: RandomNetwork, x: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Return f fᵀ, the mean over outputs, and the empirical NTK, at one draw of the parameters."""
    module = network.module
    params = draw_initial_params(module, generator=seeded_generator(1, seed))
    precision = prior_precision(module)
    rows = jacrev(lambda p: functional_call(module, p, (x,))[:, 0])(params)
    flat = torch.cat([(rows[k] / precision[k].sqrt()).flatten(1) for k in rows], dim=1)
    outputs = functional_call(module, params, (x,)).detach()
    return outputs @ outputs.T / outputs.shape[1], (flat @ flat.T).detach()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=5)
@given(data=st.data())
def test_finite_networks_have_the_kernels_on_average(kind: str, data: st.DataObject) -> None:
    """Within 5 standard errors of the mean over draws, and a bias of 6/width of the largest entry.

    The bias of the NNGP kernel and of the NTK falls as 1/width.
    """
    width = WIDTHS[kind]
    network: RandomNetwork = data.draw(random_networks(kind, width=width, outputs=200))
    x = network.points(3)
    draws = [_products(network, x, seed) for seed in range(N_DRAWS)]
    kernels = (nngp(network.module), ntk(network.module))
    for kernel, found in zip(kernels, zip(*draws, strict=True), strict=True):
        values, expected = torch.stack(found), kernel(x)
        error = (values.mean(0) - expected).abs()
        bound = 5 * values.std(0) / N_DRAWS**0.5 + 6 / width * expected.abs().max()
        assert bool((error < bound).all()), (error / bound, network.module)
