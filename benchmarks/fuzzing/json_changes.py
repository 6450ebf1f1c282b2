"""JSON with one place in it changed, to values that readers may not expect."""

from __future__ import annotations

from random import Random
from typing import Any


def changed_json(rng: Random, value: Any, depth: int = 0) -> Any:
    """Return JSON with one place in it replaced, left out or doubled."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        if rng.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        if rng.random() < 0.05:
            return {
                **value,
                rng.choice(("__class__", "predict", "object", "settings", "", "é", "a_")): value[
                    key
                ],
            }
        return {**value, key: changed_json(rng, value[key], depth + 1)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        if rng.random() < 0.2:
            return value[:at] + value[at + 1 :]
        return [*value[:at], changed_json(rng, value[at], depth + 1), *value[at + 1 :]]
    return odd_value(rng)


def odd_value(rng: Random) -> Any:
    """Return a value that a reader may not expect."""
    deep: Any = 1
    for _ in range(rng.choice((5, 300))):
        deep = {"list": [deep]}
    return rng.choice((
        None,
        True,
        -1,
        0,
        10**9,
        10**15,
        2**63,
        10**400,
        1e308,
        -0.5,
        float("nan"),
        float("inf"),
        "",
        "a",
        "x" * 10**5,
        "\x1b[2J\n",
        [],
        {},
        [[]],
        {"tensor": "none"},
        {"object": "eval", "settings": {}},
        {"array": ["<U1000000000", ["a"]]},
        {"array": ["|O", [{}]]},
        {"array": ["<f8", [1, [2]]]},
        {"array_dtype": "V1000000000"},
        {"mapping": {}},
        {"tuple": 3},
        deep,
        {
            "type": "NTKLinear",
            "in_features": 10**6,
            "out_features": 10**6,
            "weight_std": 1.0,
            "bias_std": 0.0,
        },
        {
            "type": "NTKLinear",
            "in_features": 10**18,
            "out_features": 10**18,
            "weight_std": 1.0,
            "bias_std": 0.0,
        },
        {
            "type": "LayerNorm",
            "normalized_shape": [10**10],
            "eps": 1e-5,
            "elementwise_affine": True,
        },
        {
            "type": "FourierFeatures",
            "in_features": 10**6,
            "n_frequencies": 10**6,
            "frequency_std": 1.0,
        },
    ))
