"""HDF5: links to other files and values in other files are named and not followed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from ct.data.hdf5_file import hdf5_contents
from ct.data.matlab_file import read_matlab
from ct.data.result_file import merge_results, read_result
from ct.data.sinogram_file import open_sinogram
from ct.description import describe_file
from tests.hostile.refusals import refused

SECRET = np.full((12, 9), 7.0, dtype=np.float32)
VALUES = np.random.default_rng(0).uniform(1, 2, (12, 9)).astype(np.float32)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that no other file may reach, in a folder of its own."""
    (tmp_path / "private").mkdir()
    path = tmp_path / "private" / "secret.h5"
    with h5py.File(path, "w") as file:
        file["sinogram"] = SECRET
    (tmp_path / "private" / "raw").write_bytes(SECRET.tobytes())
    return path


def external_link(file: h5py.File, secret: Path) -> None:
    file["sinogram"] = h5py.ExternalLink(str(secret), "/sinogram")


def link_to_a_group(file: h5py.File, secret: Path) -> None:
    file["exchange"] = h5py.ExternalLink(str(secret), "/")
    file["sinogram"] = h5py.SoftLink("/exchange/sinogram")


def soft_link_to_an_external_one(file: h5py.File, secret: Path) -> None:
    file["outside"] = h5py.ExternalLink(str(secret), "/sinogram")
    file["sinogram"] = h5py.SoftLink("/outside")


def raw_data_in_another_file(file: h5py.File, secret: Path) -> None:
    raw = str(secret.with_name("raw"))
    file.create_dataset("sinogram", (12, 9), "f4", external=[(raw, 0, SECRET.nbytes)])


def virtual_dataset(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout(shape=(12, 9), dtype="f4")
    layout[:] = h5py.VirtualSource(str(secret), "sinogram", shape=(12, 9))
    file.create_virtual_dataset("sinogram", layout)


def relative_link(file: h5py.File, secret: Path) -> None:
    file["sinogram"] = h5py.ExternalLink("./private/../private/secret.h5", "sinogram")


def relative_raw_data(file: h5py.File, secret: Path) -> None:
    place = [("private/raw", 0, SECRET.nbytes)]
    file.create_dataset("sinogram", (12, 9), "f4", external=place)


OUTSIDE: dict[str, tuple[Callable[[h5py.File, Path], None], str]] = {
    "external link": (external_link, "a link to another file, which is not followed"),
    "relative link": (relative_link, "a link to another file, which is not followed"),
    "relative raw data": (relative_raw_data, "values lie in other files"),
    "link to a group": (link_to_a_group, "expected a dataset 'sinogram'|not followed"),
    "soft link": (soft_link_to_an_external_one, "a link to another file, which is not followed"),
    "raw data": (raw_data_in_another_file, "values lie in other files"),
    "virtual dataset": (virtual_dataset, "values lie in other files"),
}


@pytest.mark.parametrize("case", OUTSIDE)
def test_nothing_outside_of_the_file_is_read(
    tmp_path: Path, secret: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, named = OUTSIDE[case]
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        make(file, secret)
        file["angles"] = np.linspace(0, 3, 12)
    if case != "link to a group":  # or h5py would not have read it either
        monkeypatch.chdir(tmp_path)  # from where raw data's names count
        with h5py.File(path) as file:
            np.testing.assert_array_equal(file["sinogram"][:], SECRET)
    refused(lambda: open_sinogram(path), path, named)
    refused(lambda: describe_file(path), path, named)


def test_results_of_other_files_are_no_results(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    shutil.copy(folder / "rec.h5", tmp_path / "private" / "rec.h5")
    path = tmp_path / "rec.h5"
    shutil.copy(folder / "rec.h5", path)
    with h5py.File(path, "a") as file:
        del file["mean"]
        file["mean"] = h5py.ExternalLink("private/rec.h5", "mean")
        assert len(file["mean"])  # h5py follows it
    refused(lambda: read_result(path), path, "'mean' is a link to another file")
    refused(lambda: merge_results([path], tmp_path / "all.h5"), path, "a link to another file")
    assert not (tmp_path / "all.h5").exists()


def test_matlab_of_other_files_is_empty(tmp_path: Path, secret: Path) -> None:
    path = tmp_path / "scan.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["m"] = h5py.ExternalLink(str(secret), "sinogram")
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM")
    assert read_matlab(path) == {}
    refused(lambda: open_sinogram(path, dataset="m"), path, "found nothing")


def test_links_within_the_file_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        file["entry/detector/values"] = VALUES
        file["entry/detector/turns"] = h5py.SoftLink("turns")  # to itself
        file["entry/same"] = h5py.SoftLink("detector/values")
        file["sinogram"] = h5py.SoftLink("/entry/same")
        file["entry/round"] = file["/"]  # groups in a circle
    np.testing.assert_array_equal(open_sinogram(path).read(0), VALUES)
    contents = hdf5_contents(path)
    assert sorted(contents.datasets) == ["entry/detector/values", "entry/same", "sinogram"]
    assert contents.outside == {}
