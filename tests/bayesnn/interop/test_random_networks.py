"""Kernels and outputs of networks drawn at random, against neural-tangents."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bayesnn.interop.neural_tangents import (
    params_from_neural_tangents,
    params_to_neural_tangents,
    to_neural_tangents,
)
from bayesnn.kernels import nngp, ntk
from tests.reference.random_networks import KINDS, RandomNetwork, random_networks


def _there(x: Tensor) -> np.ndarray:
    return (x if x.ndim < 4 else x.permute(0, 2, 3, 1)).numpy()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=6)
@given(data=st.data())
def test_kernels_and_outputs_agree(kind: str, data: st.DataObject) -> None:
    """Relative to the largest entry: K and Θ 1e-6 and 1e-4 in single precision, outputs 1e-10."""
    network: RandomNetwork = data.draw(random_networks(kind, strict=True))
    x = network.points(5)
    jax = importlib.import_module("jax")
    params = params_to_neural_tangents(network.module)
    theirs = to_neural_tangents(network.module)
    with jax.experimental.enable_x64():
        kernels = theirs.kernel(_there(x), None, ("nngp", "ntk"))
        expected = [np.array(each) for each in kernels]
        outputs = np.array(theirs.apply(params, _there(x)))
    np.testing.assert_allclose(outputs, network.module(x).detach().numpy(), rtol=1e-10, atol=1e-10)
    back = params_from_neural_tangents(network.module, params)
    for name, value in network.module.named_parameters():
        torch.testing.assert_close(back[name], value.detach(), rtol=1e-12, atol=1e-14)
    for ours, other in zip((nngp(network.module), ntk(network.module)), expected, strict=True):
        for precision, tolerance in ((torch.float64, 1e-6), (torch.float32, 1e-4)):
            points = x.to(precision)
            bound = tolerance * np.abs(other).max()
            assert np.abs(ours(points).numpy() - other).max() < bound
            assert np.abs(ours(points[:2], points[2:]).numpy() - other[:2, 2:]).max() < bound
