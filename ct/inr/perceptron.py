"""Multi-layer perceptrons that end in one number: the last part of several networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ct.inr.coordinates import READ_OUT_SCALE

Layers = tuple[nn.ParameterList, nn.ParameterList]
"""Weights [out, in] and biases [out] of each layer."""


def draw_layers(
    n_inputs: int, width: int, depth: int, *, read_out_bias: float, generator: torch.Generator
) -> Layers:
    """Draw weights from N(0, 2/fan-in), the last layer's a tenth of that; biases are zero.

    Args:
        n_inputs: features that go in.
        width: units of each hidden layer.
        depth: number of hidden layers.
        read_out_bias: the last layer's bias, about which the outputs start.
        generator: source of the weights.

    Returns:
        The parameters.
    """
    weights, biases = nn.ParameterList(), nn.ParameterList()
    for fan_in, fan_out in pairwise([n_inputs, *[width] * depth, 1]):
        draw = torch.randn(fan_out, fan_in, generator=generator)
        weights.append(nn.Parameter(draw * math.sqrt(2 / fan_in)))
        biases.append(nn.Parameter(torch.zeros(fan_out)))
    with torch.no_grad():
        weights[-1] *= READ_OUT_SCALE
        biases[-1] += read_out_bias
    return weights, biases


def layer_fan_in(weights: nn.ParameterList) -> dict[str, int]:
    """Return the fan-in of each layer's weights, by the parameter's name."""
    return {f"weights.{layer}": weight.shape[1] for layer, weight in enumerate(weights)}


def by_rows(
    inputs: Float[Tensor, "n features"], layers: Layers, activation: Callable[[Tensor], Tensor]
) -> Float[Tensor, " n"]:
    """Return the outputs for inputs that stand as rows.

    Args:
        inputs: features of each point.
        layers: weights and biases.
        activation: applied between the layers.

    Returns:
        One number a point.
    """
    hidden = inputs
    for index, (weight, bias) in enumerate(zip(*layers, strict=True)):
        if index > 0:
            hidden = activation(hidden)
        hidden = nn.functional.linear(hidden, weight, bias)
    return hidden[:, 0]


def by_columns(
    inputs: Float[Tensor, "features n"], layers: Layers, activation: Callable[[Tensor], Tensor]
) -> Float[Tensor, " n"]:
    """Return the outputs for inputs that stand as columns: planes of features are not transposed.

    Args:
        inputs: features of each point.
        layers: weights and biases.
        activation: applied between the layers.

    Returns:
        One number a point.
    """
    hidden = inputs
    for index, (weight, bias) in enumerate(zip(*layers, strict=True)):
        if index > 0:
            hidden = activation(hidden)
        hidden = torch.addmm(bias[:, None], weight, hidden)
    return hidden[0]
