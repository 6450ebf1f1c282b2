"""What is no whole file of ours is refused, and the reason is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ensembles import EnsembleClassifier, EnsembleRegressor
from ensembles.tensor_file import _digest
from tests.ensembles.stored import fitted, saved, small_net


def edited(path: Path, change: Callable[[dict[str, Tensor], dict[str, str], Any], None]) -> None:
    """Write the file again with its tensors, header and content changed in place."""
    with safe_open(path, framework="pt") as opened:
        header = dict(opened.metadata())
        names = opened.keys()
        tensors = {name: opened.get_tensor(name) for name in names}
    content = json.loads(header["content"])
    change(tensors, header, content)
    header["content"] = json.dumps(content)
    header["sha256"] = _digest(tensors, header)  # as a faulty writer would, not as damage does
    save_file(tensors, path, metadata=header)


def with_new_shape(name: str, shape: tuple[int, ...]) -> Callable[..., None]:
    def change(tensors: dict[str, Tensor], header: dict[str, str], content: Any) -> None:
        tensors[name] = torch.zeros(shape)

    return change


def without(name: str) -> Callable[..., None]:
    def change(tensors: dict[str, Tensor], header: dict[str, str], content: Any) -> None:
        del tensors[name]

    return change


def with_content(key: str, value: Any) -> Callable[..., None]:
    def change(tensors: dict[str, Tensor], header: dict[str, str], content: Any) -> None:
        content[key] = value

    return change


def with_version(version: str) -> Callable[..., None]:
    def change(tensors: dict[str, Tensor], header: dict[str, str], content: Any) -> None:
        header["version"] = version

    return change


def with_network(description: Any) -> Callable[..., None]:
    def change(tensors: dict[str, Tensor], header: dict[str, str], content: Any) -> None:
        content["network"]["description"] = description

    return change


def with_fitted(name: str, value: Any) -> Callable[..., None]:
    def change(tensors: dict[str, Tensor], header: dict[str, str], content: Any) -> None:
        content["fitted"][name] = value

    return change


def without_content(tensors: dict[str, Tensor], header: dict[str, str], content: Any) -> None:
    content.clear()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_version("3"), "format version 3, .* install a newer bayesnn"),
        (with_version("1"), "format version 1, .* fit and save again"),
        (with_version("x"), "expected a version number"),
        (without("params_/0.weight"), "'params_/0.weight' is missing"),
        (without("shift_params_/direction/2.weight"), "'shift_params_/direction/2.weight' is"),
        (without("noise_std_"), "'noise_std_' is missing"),
        (without("standardizer_/x_mean"), "'standardizer_/x_mean' is missing"),
        (with_new_shape("params_/2.weight", (3, 8, 7)), "with '2.weight' of shape"),
        (without_content, "'estimator' is missing"),
        (with_content("estimator", "EnsembleClassifier"), "found 'EnsembleClassifier'; load it"),
        (with_content("network", {}), "'description' is missing"),
        (with_network({"type": "os.system"}), "'os.system' is unknown"),
        (with_network({"type": "Erf"}), "network: expected the one that was fitted"),
        (with_fitted("method_", {"object": "eval", "settings": {}}), "object 'eval' is unknown"),
        (with_fitted("method_", {"object": "adam", "settings": {"x": 1}}), "do not fit"),
        (with_fitted("method_", {"object": "adam"}), "'settings' is missing"),
        (with_fitted("method_", {"call": "eval"}), "description is damaged"),
        (with_fitted("y_dtype_", {"array_dtype": "no such type"}), "description is damaged"),
        (with_fitted("__class__", 3), "no name of a fitted attribute"),
        (with_fitted("fit", 3), "no name of a fitted attribute"),
        (with_content("fitted", {}), "'input_shape_' is missing"),
        (with_content("settings", []), "description is damaged"),
        (with_content("settings", {"no_such": 1}), "description is damaged"),
    ],
)
def test_damaged_files_are_refused(
    change: Callable[..., None], message: str, tmp_path: Path
) -> None:
    path = saved(fitted(small_net()), tmp_path)
    edited(path, change)
    with pytest.raises(ValueError, match=message) as caught:
        EnsembleRegressor.load(path)
    assert str(path) in str(caught.value)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = saved(fitted(small_net()), tmp_path)
    data = path.read_bytes()
    for size in [0, 1, 7, 8, 9, 100, *range(200, len(data) - 1, len(data) // 60), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(ValueError, match=r"empty|truncated") as caught:
            EnsembleRegressor.load(path)
        assert str(path) in str(caught.value)
    path.write_bytes(data + b"more")
    with pytest.raises(ValueError, match="truncated"):
        EnsembleRegressor.load(path)


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    """In the header, in the description, in the numbers: 300 places spread over the file."""
    path = saved(fitted(small_net()), tmp_path)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    places = np.unique(np.concatenate((np.arange(16), rng.integers(0, len(data), 300))))
    for place in places:
        broken = bytearray(data)
        broken[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"damaged|truncated|expected a|newer") as caught:
            EnsembleRegressor.load(path)
        assert str(path) in str(caught.value)
    path.write_bytes(data)
    EnsembleRegressor.load(path)


def test_one_estimators_file_is_not_the_others(tmp_path: Path) -> None:
    path = saved(fitted(small_net()), tmp_path)
    with pytest.raises(ValueError, match="expected an EnsembleClassifier, found 'EnsembleRegres"):
        EnsembleClassifier.load(path)


def test_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        EnsembleRegressor.load(tmp_path / "none.ens")
    foreign = tmp_path / "foreign.ens"
    foreign.write_bytes(b"PK\x03\x04 not ours" * 10)
    with pytest.raises(ValueError, match="not a bayesnn-ensemble file"):
        EnsembleRegressor.load(foreign)
    save_file({"a": torch.zeros(2)}, foreign)
    with pytest.raises(ValueError, match="expected a bayesnn-ensemble file"):
        EnsembleRegressor.load(foreign)
