"""Whole HDF5 files whose parts are of unexpected kinds, sizes and places."""

from __future__ import annotations

import json
from random import Random

import h5py
import numpy as np

from benchmarks.fuzzing.hdf5_seeds import exchange, in_memory, lzf, packed
from benchmarks.fuzzing.mutations import EXTREMES


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
        rng.choice((exchange, packed, lzf, lambda _: None))(file)
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
