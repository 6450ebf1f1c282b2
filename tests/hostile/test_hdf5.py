"""HDF5: links and values in other files, claims without values, and files that end their reader."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from ct.data import hdf5_client
from ct.data.hdf5_file import hdf5_contents, hdf5_stack
from ct.data.matlab_file import read_matlab
from ct.data.result_file import read_result
from ct.data.scan_input import open_scan
from ct.data.sinogram_file import open_sinogram
from ct.description import describe_file
from tests.hostile.refusals import refused

CORPUS = Path(__file__).parent / "corpus"
VALUES = np.random.default_rng(0).uniform(1, 2, (12, 9)).astype(np.float32)


def test_values_that_nobody_wrote_are_no_scan(tmp_path: Path) -> None:
    """A few KB that claim terabytes: by a fill value, a chunk, or a number of slices."""
    path = tmp_path / "scan.h5"
    for shape, chunks in (
        ((2**20, 2**20), (64, 64)),
        ((2**34, 4, 4), (64, 4, 4)),
        ((4, 2**13, 2**13), (4, 2**13, 2**13)),
    ):
        with h5py.File(path, "w") as file:
            file.create_dataset("sinogram", shape, "f4", chunks=chunks, compression="gzip")
        refused(lambda: open_sinogram(path), path, "expected a (slice|stack|chunk) that a file of")


def test_a_chunk_that_unpacks_to_more_than_its_shape(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    packer = zlib.compressobj(1)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(600)) + packer.flush()
    with h5py.File(path, "w") as file:
        data = file.create_dataset("sinogram", (12, 9), "f4", chunks=(12, 9), compression="gzip")
        data.id.write_direct_chunk((0, 0), bomb)
    assert 20 * path.stat().st_size < 2**28
    stack = hdf5_stack(hdf5_contents(path), "sinogram")
    refused(lambda: stack.read(0), path, "more memory than a file of its size|damaged")


@pytest.mark.parametrize("path", sorted(CORPUS.glob("hdf5_*")), ids=lambda path: path.name)
def test_files_that_libhdf5_does_not_survive(path: Path) -> None:
    """They end or stall the process that reads them, which is another one."""
    refused(lambda: describe_file(path), path, "ends the program that reads it|damaged")


def test_a_heap_that_claims_more_than_the_file(tmp_path: Path) -> None:
    """libhdf5 asks for it; what it is not given is the file's fault, and the next is read."""
    path = CORPUS / "hdf5_heap_of_gigabytes.h5"
    refused(lambda: describe_file(path), path, "it claims more memory than a file of its size")
    process = hdf5_client._reader.process
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["sinogram"] = VALUES
    np.testing.assert_array_equal(open_sinogram(tmp_path / "scan.h5").read(0), VALUES)
    assert hdf5_client._reader.process is process


@pytest.mark.parametrize("name", ["angles", "exchange/theta"])
def test_more_angles_than_any_scan_has(tmp_path: Path, name: str) -> None:
    """Sixteen million of them, in a few KB; each would become a number of Python's."""
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        file["sinogram" if name == "angles" else "exchange/data"] = VALUES
        file.create_dataset(name, (2**24,), "f8", chunks=(2**14,), compression="gzip")
    assert path.stat().st_size < 2**14
    refused(lambda: describe_file(path), path, "expected at most 100000 views, got 16777216")


@pytest.mark.parametrize(
    ("value", "faults"),
    [(3e38, {}), (1e300, {"not finite": 2})],
    ids=["an outlier", "beyond float32"],
)
def test_flats_whose_squares_overflow(tmp_path: Path, value: float, faults: dict[str, int]) -> None:
    path = tmp_path / "scan.h5"
    flats = np.full((3, 2, 9), 5000.0) + np.arange(3)[:, None, None]
    flats[1, :, 4] = value
    with h5py.File(path, "w") as file:
        file["exchange/data"] = np.full((12, 2, 9), 100.0)
        file["exchange/data_white"] = flats
        file["exchange/theta"] = np.arange(12) * 15.0
    calibration = open_scan(path).calibration
    assert calibration is not None
    assert calibration.faults() == faults


def test_the_reader_is_started_again(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        file["sinogram"] = VALUES
    opened = open_sinogram(path)
    process = hdf5_client._reader.process
    assert process is not None
    process.kill()
    process.wait()
    np.testing.assert_array_equal(opened.read(0), VALUES)
    path.write_bytes(path.read_bytes() + b"longer")
    refused(lambda: opened.read(0), path, "replaced while it was read")


def test_matlab_groups_in_a_circle(tmp_path: Path) -> None:
    path = tmp_path / "scan.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["m"] = VALUES.T.astype(np.float64)
        file["s/again"] = file["/"]
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM")
    np.testing.assert_allclose(read_matlab(path)["m"], VALUES)


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("metadata", "[" * 30_000, "'metadata' is damaged"),
        ("metadata", '["none"]', "'none'"),
        ("json", "{}", "no list of names"),
        ("noise_std", "3", "one 'noise_std' for each"),
        ("format", "bayesnn-ct reconstruction " + "9" * 5000, "expected a result file of version"),
        (
            "geometry",
            json.dumps({"version": 1, "grid": {"shape": [10**9, 10**9]}, "scan": {}}),
            "geometry",
        ),
        ("work", 3, "is no text"),
    ],
)
def test_results_that_say_what_cannot_be(
    folder: Path, name: str, value: object, named: str
) -> None:
    path = folder / "rec.h5"
    with h5py.File(path, "a") as file:
        file.attrs[name] = value
    refused(lambda: read_result(path), path, named)
