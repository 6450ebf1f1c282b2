"""All objects that users can choose have a name in files, and come back equal."""

from __future__ import annotations

import importlib
import json
import pkgutil
from typing import Any

import pytest
import torch

import ensembles
from ensembles import adam
from ensembles.plain_data import decode, encode, known_objects
from ensembles.trainers.execution import Execution
from ensembles.trainers.schedules import cosine, step_decay
from ensembles.trainers.sgd import sgd


def test_every_object_that_users_can_choose_has_a_name() -> None:
    """All that `ensembles` exports, and all that stands in its packages, comes back equal."""
    named = set(known_objects())
    for package in ("methods", "trainers", "likelihoods"):
        path = importlib.import_module(f"ensembles.{package}").__path__
        for module in pkgutil.iter_modules(path):
            if module.name == "update_kernels":  # kernels need triton, and hold no objects
                continue
            found = importlib.import_module(f"ensembles.{package}.{module.name}")
            for one in vars(found).values():
                if not isinstance(one, type) or one.__module__ != found.__name__:
                    continue
                chosen = {"shift", "train", "noise_variance", "loss"} & vars(one).keys()
                if chosen and hasattr(one, "__dataclass_fields__") and one not in named:
                    assert one.__name__ == "TrainingProblem", one  # what trainers are given
    needed = {"sgd": {"learning_rate": 0.1}}
    examples = 0
    for name in ensembles.__all__:
        function = getattr(ensembles, name)
        if isinstance(function, type) or getattr(function, "__module__", "").split(".")[1] not in {
            "methods", "trainers", "likelihoods",
        }:  # fmt: skip
            continue
        value = function(**needed.get(name, {}))
        examples += 1
        plain = json.loads(json.dumps(encode(value, name, {})))
        assert decode(plain, {}) == value
        assert type(decode(plain, {})) is type(value)
    assert examples >= 12


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, 2.5, "x", (1, 2), [1, (2.0, None)], {"a": {"b": (1,)}}, torch.bfloat16,
        adam(steps=3, schedule=cosine(warmup=0.1), execution=Execution(autocast=torch.bfloat16)),
        sgd(learning_rate=0.1, schedule=step_decay(at=(0.1, 0.9))),
    ],
)  # fmt: skip
def test_values_come_back_through_json(value: Any) -> None:
    assert decode(json.loads(json.dumps(encode(value, "x", {}))), {}) == value
