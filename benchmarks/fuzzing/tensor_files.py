"""safetensors with JSON: saved ensembles, states of long work, reference posteriors."""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from bayesnn.networks import Erf, describe, mlp
from bayesnn.reference_file import Reference, load_reference, save_reference
from benchmarks.fuzzing.file_format import FileFormat
from benchmarks.fuzzing.header_and_values import in_order, joined, parts
from benchmarks.fuzzing.json_changes import changed_json
from benchmarks.fuzzing.mutations import EXTREMES, mutated
from ct import copied_chunk
from ct.checkpoint_file import FileCheckpoint
from ct.run_summary import count_findings, summarise_calibration, summarise_noise, warnings_of
from ensembles import EnsembleClassifier, EnsembleRegressor, adam
from ensembles.state_folder import LocalFolder
from ensembles.tensor_file import _digest, write_tensor_file

WORK = {"input": "seed"}
"""What the states of CT work in the seeds are of."""
_TYPES = (
    "F64", "F32", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "C64", "F4", "O", "I32", "U64",
)  # fmt: skip
_SHAPES = {"mean": (3, 2, 4), "std": (3, 2, 4)}
_X = np.random.default_rng(0).uniform(-2, 2, size=(12, 2))


def seeds() -> list[bytes]:
    """Return whole files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        net = mlp(in_features=2, out_features=1, width=4, depth=1, activation=Erf())
        short = {"n_members": 2, "random_state": 0, "trainer": adam(steps=1)}
        EnsembleRegressor(net, noise_std=0.1, **short).fit(_X, _X[:, 0]).save(folder / "a")
        labels = np.where(_X[:, 0] > 0, "yes", "no")
        net = mlp(in_features=2, out_features=2, width=4, depth=1, activation=Erf())
        EnsembleClassifier(net, **short).fit(_X, labels).save(folder / "b")
        _reference(folder / "c")
        state = FileCheckpoint(folder / "state", work=WORK)
        state.save({"image": torch.arange(12.0).reshape(3, 4), "step": torch.tensor(3)})
        state.flush()
        _slices(folder / "d")
        paths = (*(folder / name for name in "abcd"), folder / "state/work.safetensors")
        return [in_order(path.read_bytes()) for path in paths]


def _reference(path: Path) -> None:
    x = torch.arange(6, dtype=torch.float64).reshape(3, 2)
    net = mlp(in_features=2, out_features=1, width=4, depth=1, activation=Erf())
    reference = Reference(
        distribution="nngp",
        network=describe(net),
        noise_std=0.1,
        time=float("inf"),
        x=x,
        y=x[:, :1],
        x_test=x,
        mean=x[:, :1],
        covariance=torch.eye(3, dtype=torch.float64),
        prior_variance=torch.ones(3, dtype=torch.float64),
        computed_by="seed",
    )
    save_reference(reference, path)


def _slices(path: Path) -> None:
    record = {
        "slice": 1, "raised": 0, "missing": 2, "noise_std": 0.1, "noise_std_source": "estimated",
        "calibration": "views held out", "half_widths": {"0.95": 0.2},
        "held_out_coverage": {"0.95": 0.94},
        "diagnostics": {"std_scale": 1.1, "findings": [{"name": "noise", "text": "loud"}]},
    }  # fmt: skip
    tensors = {name: torch.ones(shape) for name, shape in _SHAPES.items()}
    tensors = {name: value[:1] for name, value in tensors.items()}
    content = {"work": WORK, "first": 1, "records": [record]}
    write_tensor_file(
        path, tensors, content, file_format=copied_chunk.FORMAT, version=copied_chunk.VERSION
    )


def hostile_header(rng: Random, data: bytes) -> bytes:
    """Return a file whose tensors lie elsewhere, overlap, or are of other kinds and sizes."""
    header, values = parts(data)
    names = [name for name in header if name != "__metadata__"]
    for _ in range(rng.choice((1, 1, 2))):
        one = header[rng.choice(names)]
        what = rng.randrange(5)
        if what == 0:
            one["data_offsets"] = [
                rng.choice((*EXTREMES, -1, 0, 4)) for _ in range(rng.choice((2, 2, 3)))
            ]
        elif what == 1:
            one["data_offsets"] = header[rng.choice(names)]["data_offsets"]
        elif what == 2:
            one["shape"] = [rng.choice((*EXTREMES, -1)) for _ in range(rng.choice((1, 2, 3)))]
        elif what == 3:
            one["dtype"] = rng.choice(_TYPES)
        else:
            one["shape"], one["dtype"] = [0, rng.choice(EXTREMES)], "F32"
    length = rng.choice((None, None, None, *EXTREMES[-8:]))
    text: Any = header
    if rng.random() < 0.1:
        text = rng.choice((
            "[" * 100_000,
            '{"a":' * 50_000,
            "{}",
            "[]",
            '{"__metadata__":{"format":1}}',
            json.dumps(header) * 2,
            '{"a":{"dtype":"F32"},"a":1}',
        ))
    return joined(text, values, length if length is None else length % 2**64)


def hostile_content(rng: Random, data: bytes) -> bytes:
    """Return a file whose JSON says other things, with the digest of what it says."""
    header, _ = parts(data)
    metadata = header["__metadata__"]
    content = json.loads(metadata["content"])
    for _ in range(rng.choice((1, 1, 2, 3))):
        content = changed_json(rng, content)
    text = json.dumps(content)
    if rng.random() < 0.05:
        text = rng.choice((
            "[" * 100_000,
            "NaN",
            "9" * 5000,
            '{"a":' * 3000 + "1" + "}" * 3000,
            "",
            '"a"',
            "[]",
        ))
    metadata["content"] = text
    tensors = load_tensors(data)
    if rng.random() < 0.3:
        name = rng.choice(sorted(tensors))
        held = tensors.pop(name)
        if rng.random() < 0.7:
            tensors[name] = rng.choice((
                held.flatten()[:0],
                held.flatten(),
                held * np.nan,
                held.to(torch.int32),
                held[None],
                held.to(torch.uint8),
                torch.zeros(0, 2**40),
            ))
    tensors = {name: value.contiguous().clone() for name, value in tensors.items()}
    if "sha256" in metadata:
        metadata["sha256"] = _digest(tensors, metadata)
    return in_order(save_tensors(tensors, metadata))


def mutate(rng: Random, whole: list[bytes]) -> bytes:
    """Return a hostile file."""
    kind = rng.random()
    if kind < 0.5:
        return hostile_content(rng, rng.choice(whole))
    if kind < 0.7:
        return hostile_header(rng, rng.choice(whole))
    return mutated(rng, whole)


def read(path: Path) -> None:
    """As whichever of these files it says it is."""
    start = path.read_bytes()[:4000]
    if b"bayesnn-ct-state" in start:
        _read_state(path)
    elif b"bayesnn-ct-slices" in start:
        _read_slices(path)
    elif b"EnsembleClassifier" in start:
        EnsembleClassifier.load(path).predict(_X[:3])
    elif b"bayesnn-reference" in start:
        load_reference(path)
    else:
        EnsembleRegressor.load(path).predict(_X[:3])


def _read_state(path: Path) -> None:
    """As resumed work does, to which a state that is refused is a warning."""
    folder = path.parent / "state"
    folder.mkdir(exist_ok=True)
    twin = folder / "work.safetensors"
    twin.unlink(missing_ok=True)
    twin.hardlink_to(path)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        FileCheckpoint(folder, work=WORK).load()
    if warned:
        raise ValueError(str(warned[0].message))


def _read_slices(path: Path) -> None:
    """As a run does that goes on elsewhere, and tells of them beside slices of its own."""
    twin = path.parent / copied_chunk.chunk_name(0)
    twin.unlink(missing_ok=True)
    twin.hardlink_to(path)
    records = copied_chunk.read_chunk(LocalFolder(path.parent), 0, WORK, _SHAPES).records
    for tell in (summarise_noise, summarise_calibration, count_findings, warnings_of):
        tell([*records, *records])
    json.dumps(records)


TENSORS = FileFormat(
    name="safetensors",
    suffix=".safetensors",
    seeds=seeds,
    mutate=mutate,
    read=read,
    readers="EnsembleRegressor.load, EnsembleClassifier.load, load_reference, FileCheckpoint.load, "
    "read_chunk",
)
