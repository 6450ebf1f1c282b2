"""Configurations, lists of angles, records and JSON: nested, endless, or not what they say."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest

from bayesnn.plain_json import parse_json
from benchmarks.record_file import read_records
from ct.commands.config_file import read_config
from ct.data.angle_options import parse_angles
from ct.data.shown import shown
from ct.geometry_json import geometry_from_json
from ct.method_choice import choose_method
from tests.hostile.refusals import put, refused

TYPES = {"seed": int, "settings": dict}


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.toml", b"a = " + b"[" * 20_000, "nested too deeply|configuration"),
        ("a.json", b'{"seed": 1, "seed": 2}', "'seed' stands twice"),
        ("a.json", b'{"seed": ' + b"9" * 5000 + b"}", "configuration"),
        ("a.toml", b"seed = 0x" + b"f" * 9000, "a whole number in it has 36000 bits"),
        ("a.toml", b"[settings]\na = [{b = 0x" + b"f" * 17 + b"}]", "has 68 bits"),
        ("a.json", b'{"seed": "' + b"x" * 10**6 + b'"}', "seed: expected int, got"),
        ("a.json", b'{"\\u001b[2J": 1}', "unknown '[?]\\[2J'"),
        ("a.json", b" " * 2**21, "at most 1048576 bytes"),
        ("a.json", b"\xff\xfe", "cannot be read as text"),
    ],
)
def test_configurations(tmp_path: Path, name: str, content: bytes, named: str) -> None:
    path = put(tmp_path, name, content)
    refused(lambda: read_config(path, TYPES), path, named)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"n_samples": "x" * 10**5}, "n_samples: expected a value like 50, got 'xxx"),
        ({"mean": ["x" * 10**5]}, "mean: expected mc-dropout or .*, got .'xxx"),
        ({"x" * 10**5: 1}, "no setting is called 'xxx"),
    ],
    ids=["value", "choice", "name"],
)
def test_long_words_are_shown_short(settings: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named) as caught:
        choose_method("jackknife", settings)
    assert len(str(caught.value)) < 400


def test_numbers_beyond_floats(tmp_path: Path) -> None:
    scan = {"kind": "parallel-beam", "angles": [0.0, 10**400], "n_detectors": 9}
    text = json.dumps({"version": 1, "grid": {"shape": [8, 8]}, "scan": scan})
    with pytest.raises(ValueError, match="angles: expected an array of real numbers"):
        geometry_from_json(text)


@pytest.mark.parametrize(
    ("grid", "scan"),
    [
        ({"shape": "x" * 10**5}, {}),
        ({}, {"curved": "x" * 10**5}),
        ({}, {"n_detecto\x1b[2J": 9}),
    ],
    ids=["shape", "curved", "name"],
)
def test_geometries_show_words_of_files_short(
    grid: dict[str, object], scan: dict[str, object], as_users_run: None
) -> None:
    kind = {"kind": "fan-beam", "source_origin": 50.0, "source_detector": 80.0}
    rays = {**kind, "angles": [0.0, 1.0], "n_detectors": 9, "curved": False}
    text = json.dumps({"version": 1, "grid": {"shape": [8, 8]}, "scan": rays})
    assert geometry_from_json(text)[0].shape == (8, 8)
    text = json.dumps({"version": 1, "grid": {"shape": [8, 8], **grid}, "scan": {**rays, **scan}})
    with pytest.raises(ValueError, match=r"got|argument") as caught:
        geometry_from_json(text)
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


def test_lists_of_angles(tmp_path: Path) -> None:
    path = put(tmp_path, "angles.txt", b"1 " * 2**22)
    refused(lambda: parse_angles(str(path), degrees=True), path, "at most 4194304 bytes")
    path.write_bytes(Random(0).randbytes(200))
    refused(lambda: parse_angles(str(path), degrees=True), path, "other things than numbers")
    np.save(tmp_path / "angles.npy", np.zeros(2**17, dtype=np.uint8))
    path = tmp_path / "angles.npy"
    refused(lambda: parse_angles(str(path), degrees=True), path, "at most 100000 views, got 131072")


@pytest.mark.parametrize("content", ["[" * 100_000, "{}", "[1]", "", "[{}", "9" * 5000])
def test_records_that_are_read_back(tmp_path: Path, content: str) -> None:
    path = put(tmp_path, "cells.json", content.encode())
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
