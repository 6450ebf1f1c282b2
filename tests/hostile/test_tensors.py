"""safetensors with JSON, saved ensembles and references: what they claim, what is refused."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from bayesnn.networks import Erf, describe, mlp
from bayesnn.networks.described_size import largest_parameter
from bayesnn.reference_file import load_reference
from benchmarks.fuzzing.header_and_values import joined, parts
from benchmarks.fuzzing.tensor_files import seeds
from ensembles import EnsembleRegressor
from ensembles.tensor_file import _digest
from tests.hostile.refusals import refused

REGRESSOR, CLASSIFIER, REFERENCE, STATE = range(4)


@pytest.fixture(scope="module")
def whole() -> list[bytes]:
    return seeds()


def put(folder: Path, content: bytes, name: str = "a.ens") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def rewritten(data: bytes, change: Callable[[Any], Any]) -> bytes:
    """The same file with other content and the digest of that, as a forger would write it."""
    header, _ = parts(data)
    metadata, tensors = header["__metadata__"], load_tensors(data)
    content = change(json.loads(metadata["content"]))
    metadata["content"] = content if isinstance(content, str) else json.dumps(content)
    metadata["sha256"] = _digest(tensors, metadata)
    return save_tensors(tensors, metadata)


@pytest.mark.parametrize("length", [2**63, 2**40, 2**32, 10**8])
def test_header_lengths_beyond_the_file(tmp_path: Path, whole: list[bytes], length: int) -> None:
    path = put(tmp_path, struct.pack("<Q", length) + whole[REGRESSOR][8:])
    refused(lambda: EnsembleRegressor.load(path), path, "not a bayesnn-ensemble file")


@pytest.mark.parametrize("case", ["overlap", "beyond", "backwards", "twice", "deep"])
def test_tensors_that_lie_where_they_cannot(tmp_path: Path, whole: list[bytes], case: str) -> None:
    header, values = parts(whole[REGRESSOR])
    first, second = [name for name in header if name != "__metadata__"][:2]
    if case == "overlap":
        header[second]["data_offsets"] = header[first]["data_offsets"]
    elif case == "beyond":
        header[first] |= {"shape": [2**50], "data_offsets": [0, 2**52]}
    elif case == "backwards":
        header[first]["data_offsets"] = header[first]["data_offsets"][::-1]
    text: Any = header
    if case == "twice":
        text = json.dumps(header)[:-1] + f', "{first}": {json.dumps(header[second])}}}'
    elif case == "deep":
        text = '{"a":' * 100_000
    path = put(tmp_path, joined(text, values))
    refused(lambda: EnsembleRegressor.load(path), path, "not a bayesnn-ensemble file|damaged")


def _network(content: Any, **settings: Any) -> Any:
    content["network"]["description"] = {
        "type": "NTKLinear",
        "weight_std": 1.0,
        "bias_std": 0.0,
        **settings,
    }
    return content


FORGED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a network of a terabyte": (
        lambda c: _network(c, in_features=500_000, out_features=500_000),
        "description with 2.5e\\+11 values in one parameter",
    ),
    "labels of gigabytes": (
        lambda c: {**c, "fitted": {**c["fitted"], "a_": {"array": ["<U100000000", ["a"]]}}},
        "expected short arrays",
    ),
    "labels by an old name": (
        lambda c: {**c, "fitted": {**c["fitted"], "a_": {"array": ["a5", ["a"]]}}},
        "expected a type of numbers or strings, found 'a5'",
    ),
    "objects": (
        lambda c: {**c, "fitted": {**c["fitted"], "method_": {"object": "eval", "settings": {}}}},
        "the object 'eval' is unknown",
    ),
    "nested 100,000 deep": (lambda _: "[" * 100_000, "nested too deeply"),
    "a number of 5,000 digits": (lambda _: "9" * 5000, "description is damaged"),
    "a name twice": (lambda c: json.dumps(c)[:-1] + ', "settings": {}}', "stands twice"),
    "predictions of another type": (
        lambda c: {**c, "fitted": {**c["fitted"], "y_dtype_": "a"}},
        "its y_dtype_ is no floating type",
    ),
    "predictions as texts": (
        lambda c: {**c, "fitted": {**c["fitted"], "y_dtype_": {"array_dtype": "<U3"}}},
        "its y_dtype_ is no floating type",
    ),
    "no shape": (
        lambda c: {**c, "fitted": {**c["fitted"], "input_shape_": 3}},
        "its input_shape_ is no shape",
    ),
    "other points": (
        lambda c: {**c, "fitted": {**c["fitted"], "input_shape_": {"tuple": [5]}}},
        "damaged|expected",
    ),
}


@pytest.mark.parametrize("shape", [(0, 1), (2, 1), (1, 1, 1)])
def test_units_of_another_number_of_points(
    tmp_path: Path, whole: list[bytes], shape: tuple[int, ...], as_users_run: None
) -> None:
    """They would be broadcast at the one point at which a loaded ensemble is tried."""
    header, _ = parts(whole[REGRESSOR])
    metadata, tensors = header["__metadata__"], load_tensors(whole[REGRESSOR])
    (name,) = (one for one in tensors if one.endswith("x_mean"))
    tensors[name] = torch.zeros(shape, dtype=torch.float64)
    metadata["sha256"] = _digest(tensors, metadata)
    path = put(tmp_path, save_tensors(tensors, metadata))
    refused(lambda: EnsembleRegressor.load(path), path, "damaged|do not fit")


@pytest.mark.parametrize("case", FORGED)
def test_forged_ensembles(tmp_path: Path, whole: list[bytes], case: str) -> None:
    change, named = FORGED[case]
    path = put(tmp_path, rewritten(whole[REGRESSOR], change))
    refused(lambda: EnsembleRegressor.load(path), path, named)


def test_the_ensemble_that_was_forged_is_loaded(tmp_path: Path, whole: list[bytes]) -> None:
    """Or all of the above would pass for another reason."""
    path = put(tmp_path, rewritten(whole[REGRESSOR], lambda content: content))
    assert EnsembleRegressor.load(path).predict([[0.0, 0.0]]).shape == (1,)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[]", "its description is not of"),
        ({"time": "x"}, "its time is of another kind"),
        ({"data_digest": "0" * 64}, "do not have the digest"),
        ({"more": 1}, "its description is not of"),
    ],
)
def test_forged_references(tmp_path: Path, whole: list[bytes], content: Any, named: str) -> None:
    path = put(
        tmp_path,
        rewritten(
            whole[REFERENCE],
            lambda old: content if isinstance(content, str) else {**old, **content},
        ),
    )
    refused(lambda: load_reference(path), path, named)
    path.write_bytes(whole[REFERENCE])
    assert load_reference(path).distribution == "nngp"


def test_the_largest_parameter_is_known_before_it_is_made() -> None:
    for width in (3, 50):
        network = mlp(in_features=4, out_features=2, width=width, depth=2, activation=Erf())
        largest = max(value.numel() for value in network.parameters())
        assert largest_parameter(describe(network)) == largest
    assert (
        largest_parameter({
            "type": "LayerNorm",
            "normalized_shape": [4, 5],
            "eps": 1.0,
            "elementwise_affine": True,
        })
        == 20
    )
    assert largest_parameter([1, None, "a", {"in_features": "x", "out_features": 3}]) == 0
