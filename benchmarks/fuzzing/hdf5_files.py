"""HDF5: sinograms of ours, results of ours, Data Exchange, and files of anybody's."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np
import torch

import ct
from benchmarks.fuzzing.file_format import FileFormat
from benchmarks.fuzzing.mutations import EXTREMES, mutated, put_extreme
from benchmarks.fuzzing.scan_readers import read_result_file
from benchmarks.fuzzing.small_scan import BINS, COUNTS, DEGREES, IMAGE, INTEGRALS, RADIANS, SLICES
from ct.data.result_file import write_result
from ct.data.sinogram_file import write_sinogram
from ct.geometry_json import geometry_to_json

GRID = ct.ImageGrid((8, 8))
SCAN = ct.ParallelBeam(RADIANS, BINS)
Fill = Callable[[h5py.File], None]


def in_memory(fill: Fill, libver: Any = None) -> bytes:
    """Return the bytes of an HDF5 file that never was on a disk."""
    content = BytesIO()
    with h5py.File(content, "w", libver=libver) as file:
        fill(file)
    return content.getvalue()


def _written(write: Callable[[Path], None]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed.h5"
        write(path)
        return path.read_bytes()


def _own_sinogram(path: Path) -> None:
    write_sinogram(
        path,
        ((one, 0.1) for one in INTEGRALS),
        grid=GRID,
        scan=SCAN,
        n_slices=SLICES,
        units="HU·mm",
        image_units="HU",
        metadata={"source": "seed", "settings": {"a": [1, 2]}},
    )


def _own_result(path: Path) -> None:
    images = torch.from_numpy(IMAGE.astype(np.float32))
    metadata = {
        "method": "jackknife",
        "settings": {"n": 3},
        "units": "1/mm",
        "seed": 0,
        "slices": [0, 1],
        "n_samples": 3,
        "noise_std": [0.1, 0.2],
        "noise_std_source": "given",
        "calibration": "none",
        "half_widths": [{"0.95": 2.0}, None],
        "held_out_coverage": [{"0.95": 0.9}, None],
        "versions": {"a": "1"},
        "diagnostics": [{}, {"steps": 3}],
    }
    samples = torch.stack([images, images + 1, images + 2], dim=1)
    result = ct.Reconstruction(
        mean=images, std=images / 10, samples=samples, metadata=metadata, grid=GRID, scan=SCAN
    )
    write_result(path, result)


def _exchange(file: h5py.File) -> None:
    file["exchange/data"] = COUNTS.transpose(1, 0, 2)
    file["exchange/data_white"] = np.full((3, SLICES, BINS), 5000.0) + np.arange(3)[:, None, None]
    file["exchange/data_dark"] = np.full((3, SLICES, BINS), 100.0) + np.arange(3)[:, None, None]
    file["exchange/theta"] = DEGREES
    file["exchange/theta"].attrs["units"] = "degrees"
    file["exchange/data"].attrs["axes"] = "theta:y:x"


def _packed(file: h5py.File) -> None:
    chunks = (1, 6, BINS)
    file.create_dataset(
        "sinogram",
        data=INTEGRALS,
        chunks=chunks,
        compression="gzip",
        shuffle=True,
        fletcher32=True,
        maxshape=(None, 12, BINS),
    )
    file["angles"] = RADIANS
    file["noise_std"] = np.full_like(INTEGRALS, 0.1)
    file.attrs["geometry"] = geometry_to_json(GRID, SCAN)
    file.attrs["words"] = ["several", "texts"]


def _lzf(file: h5py.File) -> None:
    file.create_dataset("sinogram", data=INTEGRALS[0], chunks=(4, 5), compression="lzf")
    file.create_dataset("angles", data=DEGREES, compression="gzip", maxshape=(None,))
    file["angles"].attrs["units"] = "degrees"
    file["linked"] = h5py.SoftLink("/sinogram")


def seeds() -> list[bytes]:
    """Return whole files."""
    return [
        _written(_own_sinogram),
        _written(_own_result),
        in_memory(_exchange),
        in_memory(_packed),
        in_memory(_packed, libver="latest"),
        in_memory(_lzf),
        in_memory(_lzf, libver="v108"),
    ]


def change_structure(rng: Random, data: bytearray) -> None:
    """Write an extreme number just behind a signature or into an object header."""
    names = (
        b"TREE",
        b"SNOD",
        b"HEAP",
        b"OHDR",
        b"OCHK",
        b"FRHP",
        b"FADB",
        b"EAHD",
        b"FHDB",
        b"BTHD",
        b"GCOL",
        b"\x01\x00\x01\x00",
        b"\x89HDF",
    )
    found = [data.find(name) for name in names]
    found = [one for one in found if one >= 0]
    if found:
        start = rng.choice(found)
        start = (
            data.find(data[start : start + 4], rng.randrange(start, len(data)))
            if rng.random() < 0.5
            else start
        )
        start = max(start, 0) + rng.choice((4, 5, 6, 8, 12, 16, 20, 24, 28, 32, 40, 48, 64, 80))
        put_extreme(rng, data, start, rng.choice((1, 2, 4, 8)), "little")


def odd_file(rng: Random) -> bytes:
    """Return a whole HDF5 file whose parts are of unexpected kinds, sizes and places."""
    names = (
        "sinogram",
        "angles",
        "noise_std",
        "exchange/data",
        "exchange/theta",
        "mean",
        "std",
        "samples",
        "exchange/data_white",
        "exchange/data_dark",
    )

    def fill(file: h5py.File) -> None:
        rng.choice((_exchange, _packed, _lzf, lambda _: None))(file)
        for name in rng.sample(names, rng.choice((1, 1, 2, 3))):
            if name in file:
                del file[name]
            _odd_item(rng, file, name)
        for _ in range(rng.choice((0, 1, 2))):
            _odd_attribute(rng, file)

    return in_memory(fill, rng.choice((None, "latest")))


def _odd_item(rng: Random, file: h5py.File, name: str) -> None:
    kind = rng.randrange(8)
    if kind == 0:
        file[name] = h5py.SoftLink(
            rng.choice(("/" + name, "/sinogram", "/none", "/exchange/data", "/"))
        )
    elif kind == 1:
        file[name] = h5py.ExternalLink(
            rng.choice(("other.h5", "/etc/passwd", "file.h5", "merged")), "/sinogram"
        )
    elif kind == 2:
        file.require_group(name)["inner"] = h5py.SoftLink("..")
    elif kind == 3:
        file[name] = file["/"]
    elif kind == 4:
        types = ("O", "S3", "c8", "?", "i1", ">f8", "f2", [("a", "f4")], "V7", "(3,)f4")
        dtype = rng.choice(types)
        dtype = h5py.string_dtype() if dtype == "O" else np.dtype(dtype)
        file.create_dataset(
            name, shape=rng.choice(((12, 9), (2, 12, 9), (), (0, 3), (12,))), dtype=dtype
        )
    elif kind == 5:
        shape = tuple(min(rng.choice(EXTREMES), 2**32) or 1 for _ in range(rng.choice((1, 2, 3))))
        if np.prod(np.array(shape, dtype=float)) * 8 < 2**63:
            chunks = tuple(min(n, 64) for n in shape) if rng.random() < 0.7 else None
            packing = rng.choice((None, "gzip", "lzf")) if chunks else None
            file.create_dataset(
                name,
                shape=shape,
                dtype="f4",
                chunks=chunks,
                compression=packing,
                fillvalue=rng.choice((0, 1, np.nan)),
            )
    elif kind == 6:
        layout = h5py.VirtualLayout(shape=(2, 12, 9), dtype="f4")
        layout[:] = h5py.VirtualSource(rng.choice((".", "other.h5")), "sinogram", shape=(2, 12, 9))
        file.create_virtual_dataset(name, layout)
    else:
        values = np.frombuffer(rng.randbytes(2 * 12 * 9 * 4), dtype="f4").reshape(2, 12, 9)
        file.create_dataset(name, data=values[0] if rng.random() < 0.5 else values)


def _odd_attribute(rng: Random, file: h5py.File) -> None:
    name = rng.choice((
        "format",
        "geometry",
        "values",
        "units",
        "noise_std",
        "json",
        "metadata",
        "work",
        "single_image",
        "method",
        "image_units",
    ))
    value = rng.choice((
        "",
        "bayesnn-ct reconstruction 1",
        "bayesnn-ct reconstruction " + "9" * 5000,
        "[" * 30000,
        "{}",
        "NaN",
        "[1]",
        "1" * 6000,
        json.dumps({
            "version": 1,
            "grid": {"shape": [10**9, 10**9]},
            "scan": {"kind": "parallel-beam", "angles": [0.0], "n_detectors": 10**12},
        }),
        '["method"]',
        np.nan,
        10**18,
        np.zeros((3, 3)),
        b"\xff\xfe",
        "\x1b[2J\n",
        h5py.Empty("f4"),
        np.array([b"a", b"b"]),
        "9e999",
    ))
    file.attrs[name] = value


def mutate(rng: Random, whole: list[bytes]) -> bytes:
    """Return a hostile file."""
    if rng.random() < 0.25:
        odd = odd_file(rng)
        return odd if rng.random() < 0.7 else mutated(rng, [odd], change_structure)
    return mutated(rng, whole, change_structure)


HDF5 = FileFormat(
    name="hdf5",
    suffix=".h5",
    seeds=seeds,
    mutate=mutate,
    read=read_result_file,
    readers="describe_file, open_scan, read_result, merge_results",
)
