"""Text: configuration files (JSON, TOML), lists of angles, records that are read back."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from benchmarks.fuzzing.file_format import FileFormat
from benchmarks.fuzzing.json_changes import changed_json
from benchmarks.fuzzing.mutations import mutated
from benchmarks.fuzzing.trial import is_clear
from benchmarks.record_file import read_records
from ct.commands.config_file import read_config
from ct.data.angle_options import parse_angles
from ct.geometry_json import geometry_from_json
from ct.method_choice import choose_method

_TYPES = {
    "settings": dict,
    "seed": int,
    "noise_std": float,
    "device": str,
    "resume": bool,
    "method": str,
}
_JSON = {
    "settings": {"n_folds": 3, "n_samples": 2, "mean": "fbp"},
    "seed": 3,
    "noise_std": 0.5,
    "device": "cpu",
}
_GEOMETRY = {
    "version": 1,
    "grid": {"shape": [8, 8], "pixel_size": 1.0, "slice_spacing": 1.0},
    "scan": {
        "kind": "parallel-beam",
        "angles": [0.0, 1.0],
        "n_detectors": 9,
        "detector_spacing": 1.0,
        "center": 4.0,
    },
}
_TOML = b'seed = 3\nnoise-std = 0.5\ndevice = "cpu"\n[settings]\nn_folds = 3\nmean = "fbp"\n'


def seeds() -> list[bytes]:
    """Return whole files."""
    texts = [json.dumps(_JSON), json.dumps(_GEOMETRY), json.dumps([_JSON, _JSON], indent=1)]
    return [*(text.encode() for text in texts), _TOML, b"0.0, 0.5, 1.0\n1.5; 2.0\n"]


def mutate(rng: Random, whole: list[bytes]) -> bytes:
    """Return a hostile file."""
    if rng.random() < 0.5:
        content = rng.choice((_JSON, _GEOMETRY, [_JSON, _JSON]))
        for _ in range(rng.choice((1, 2))):
            content = changed_json(rng, content)
        return json.dumps(content).encode()
    if rng.random() < 0.2:
        return rng.choice((
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b"1" * 10_000,
            b"a = " + b"[" * 5000,
            b"a" + b".a" * 5000 + b" = 1",
            b"1e400 " * 9,
            b'{"seed": 1, "seed": 2}',
            b"\xff\xfe",
            b"a = 1979-05-27T07:32:00Z",
            b'"' + b"\\u0000" * 3000 + b'"',
            b"nan inf",
            b"1," * rng.choice((10, 10**4, 10**5)),
            b'{"seed": ' + b"9" * 5000 + b"}",
            b"seed = 0x" + b"f" * 9000,
            b"\n" * 10**5,
            b"a = '''" + b"x" * 10**5,
            b"[a]\n" * 9000,
            b"{" + b'"b": 1,' * 10**4 + b'"c": 2}',
        ))
    return mutated(rng, whole)


def read(path: Path) -> None:
    """As each kind of text; refused where all refuse it, or one does so in another way."""
    refused: list[Exception] = []
    attempts = (_config, _toml, _angles, _geometry, _records)
    for attempt in attempts:
        try:
            attempt(path)
        except Exception as error:  # noqa: BLE001 - the trial looks at what it is
            refused.append(error)
    wrong = [one for one in refused if type(one) is not ValueError or not is_clear(str(one))]
    if wrong or len(refused) == len(attempts):
        raise (wrong or refused)[0]


def _config(path: Path) -> None:
    config = read_config(path, _TYPES)
    choose_method(config.values.get("method", "jackknife"), config.values.get("settings", {}))


def _toml(path: Path) -> None:
    twin = path.with_suffix(".toml")
    twin.unlink(missing_ok=True)
    twin.hardlink_to(path)
    _config(twin)


def _angles(path: Path) -> None:
    parse_angles(str(path), degrees=True)


def _geometry(path: Path) -> None:
    geometry_from_json(path.read_text(encoding="utf-8", errors="replace"))


def _records(path: Path) -> None:
    read_records(path)


TEXT = FileFormat(
    name="text",
    suffix=".json",
    seeds=seeds,
    mutate=mutate,
    read=read,
    readers="read_config, parse_angles, geometry_from_json, read_records",
)
