"""How large a described network is, before anything of that size is made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_SIDES = (
    ("in_features", "out_features"),
    ("in_channels", "out_channels", "kernel_size", "kernel_size"),
    ("in_features", "n_frequencies"),
    ("tokens", "queries"),
)
"""Settings whose product is the number of values of a layer's largest parameter."""


def largest_parameter(description: object) -> int:
    """Return the number of values of the largest parameter or buffer that `build` would make.

    Args:
        description: of a network, as `bayesnn.networks.describe` gives it, or anything else.

    Returns:
        The number; 0 where there is none, or the description is none.

    Example:
        >>> from torch import nn
        >>> from bayesnn.networks import describe, mlp
        >>> network = mlp(in_features=8, out_features=1, width=16, depth=2, activation=nn.ReLU())
        >>> largest_parameter(describe(network))
        256
    """
    largest, waiting = 0, [description]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list | tuple):
            waiting.extend(one)
        elif isinstance(one, Mapping):
            waiting.extend(value for value in one.values() if isinstance(value, Mapping | list))
            largest = max(largest, _largest_of(one))
    return largest


def _largest_of(layer: Mapping[Any, Any]) -> int:
    found = [
        _product([layer[name] for name in names]) for names in _SIDES if set(names) <= layer.keys()
    ]
    if layer.get("type") == "LayerNorm" and layer.get("elementwise_affine"):
        shape = layer.get("normalized_shape")
        found.append(_product(shape if isinstance(shape, list) else [shape]))
    return max(found, default=0)


def _product(sizes: list[Any]) -> int:
    return math.prod(sizes) if all(isinstance(size, int) for size in sizes) else 0
