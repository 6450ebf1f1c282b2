"""Saved ensembles, references, configurations and records: what they claim, what is refused."""

from __future__ import annotations

import json
import pickle  # noqa: TID251 - to be refused
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from bayesnn.networks import Erf, describe, mlp
from bayesnn.networks.described_size import largest_parameter
from bayesnn.plain_json import parse_json
from bayesnn.reference_file import load_reference
from benchmarks.fuzzing.tensor_files import joined, parts, seeds
from benchmarks.record_file import read_records
from ct.commands.config_file import read_config
from ct.data.angle_options import parse_angles
from ct.data.shown import shown
from ct.geometry_json import geometry_from_json
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
    "objects": (
        lambda c: {**c, "fitted": {**c["fitted"], "method_": {"object": "eval", "settings": {}}}},
        "the object 'eval' is unknown",
    ),
    "nested 100,000 deep": (lambda _: "[" * 100_000, "nested too deeply"),
    "a number of 5,000 digits": (lambda _: "9" * 5000, "description is damaged"),
    "a name twice": (lambda c: json.dumps(c)[:-1] + ', "settings": {}}', "stands twice"),
    "no shape": (
        lambda c: {**c, "fitted": {**c["fitted"], "input_shape_": 3}},
        "its input_shape_ is no shape",
    ),
    "other points": (
        lambda c: {**c, "fitted": {**c["fitted"], "input_shape_": {"tuple": [5]}}},
        "damaged|expected",
    ),
}


@pytest.mark.parametrize("case", FORGED)
def test_forged_ensembles(tmp_path: Path, whole: list[bytes], case: str) -> None:
    change, named = FORGED[case]
    path = put(tmp_path, rewritten(whole[REGRESSOR], change))
    refused(lambda: EnsembleRegressor.load(path), path, named)


def test_the_ensemble_that_was_forged_is_loaded(tmp_path: Path, whole: list[bytes]) -> None:
    """Or all of the above would pass for another reason."""
    path = put(tmp_path, rewritten(whole[REGRESSOR], lambda content: content))
    assert EnsembleRegressor.load(path).predict([[0.0, 0.0]]).shape == (1,)


def test_pickles_are_no_ensembles(tmp_path: Path) -> None:
    path = put(tmp_path, pickle.dumps({"a": torch.zeros(2)}))
    refused(lambda: EnsembleRegressor.load(path), path, "not a bayesnn-ensemble file")
    torch.save({"a": torch.zeros(2)}, path)
    refused(lambda: EnsembleRegressor.load(path), path, "not a bayesnn-ensemble file")


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


TYPES = {"seed": int, "settings": dict}


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.toml", b"a = " + b"[" * 20_000, "nested too deeply|configuration"),
        ("a.json", b'{"seed": 1, "seed": 2}', "'seed' stands twice"),
        ("a.json", b'{"seed": ' + b"9" * 5000 + b"}", "configuration"),
        ("a.json", b'{"seed": "' + b"x" * 10**6 + b'"}', "seed: expected int, got"),
        ("a.json", b'{"\\u001b[2J": 1}', "unknown '[?]\\[2J'"),
        ("a.json", b" " * 2**21, "at most 1048576 bytes"),
        ("a.json", b"\xff\xfe", "cannot be read as text"),
    ],
)
def test_configurations(tmp_path: Path, name: str, content: bytes, named: str) -> None:
    path = put(tmp_path, content, name)
    refused(lambda: read_config(path, TYPES), path, named)


def test_lists_of_angles(tmp_path: Path) -> None:
    path = put(tmp_path, b"1 " * 2**22, "angles.txt")
    refused(lambda: parse_angles(str(path), degrees=True), path, "at most 4194304 bytes")
    path.write_bytes(Random(0).randbytes(200))
    refused(lambda: parse_angles(str(path), degrees=True), path, "other things than numbers")
    np.save(tmp_path / "angles.npy", np.zeros(2**17, dtype=np.uint8))
    path = tmp_path / "angles.npy"
    refused(lambda: parse_angles(str(path), degrees=True), path, "at most 100000 views, got 131072")


@pytest.mark.parametrize("content", ["[" * 100_000, "{}", "[1]", "", "[{}", "9" * 5000])
def test_records_that_are_read_back(tmp_path: Path, content: str) -> None:
    path = put(tmp_path, content.encode(), "cells.json")
    refused(lambda: read_records(path), path, "delete it to start again")


def test_json_that_others_wrote() -> None:
    assert parse_json('{"a": [1, {"b": NaN}]}')["a"][0] == 1
    for text in ("[" * 100_000, '{"a":' * 100_000, '{"a": 1, "a": 2}', "9" * 5000, "", b"\xff"):
        with pytest.raises(ValueError, match=r".") as caught:
            parse_json(text)
        assert len(str(caught.value)) < 300
    with pytest.raises(ValueError, match="nested too deeply"):
        geometry_from_json("[" * 100_000)


def test_words_of_a_file_are_shown_on_one_short_line() -> None:
    assert shown("a\x1b[31m\nb\0") == "a?[31m b?"
    assert shown("x" * 500, 10) == "xxxxxxxxx…"
    assert shown("µm") == "µm"


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
