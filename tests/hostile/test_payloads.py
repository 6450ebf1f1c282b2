"""Pickles and object arrays, whose reading runs whatever they say: no reader looks into them."""

from __future__ import annotations

import pickle  # noqa: TID251 - to be refused
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import h5py
import numpy as np
import pytest
import scipy.io
import torch

from bayesnn.reference_file import load_reference
from benchmarks.fuzzing.npy_files import with_header
from ct.checkpoint_file import FileCheckpoint
from ct.data.angle_options import parse_angles
from ct.data.images import read_image
from ct.data.matlab_file import read_matlab
from ct.data.result_file import read_result
from ct.data.sinogram_file import open_sinogram
from ct.description import describe_file
from ensembles import EnsembleClassifier, EnsembleRegressor
from tests.hostile.refusals import put, refused

READERS: dict[str, Callable[[Path], object]] = {
    "regressor": EnsembleRegressor.load,
    "classifier": EnsembleClassifier.load,
    "reference": load_reference,
    "scan": open_sinogram,
    "image": read_image,
    "result": read_result,
    "info": describe_file,
    "angles": lambda path: parse_angles(str(path), degrees=True),
}


class Payload:
    """Unpickled, it leaves a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.trace,)


def pickled(payload: Payload) -> bytes:
    return pickle.dumps([payload])


def pickled_by_torch(payload: Payload) -> bytes:
    file = BytesIO()
    torch.save({"a": payload}, file)
    return file.getvalue()


def pickled_by_old_torch(payload: Payload) -> bytes:
    file = BytesIO()
    torch.save({"a": payload}, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def array_of_objects(payload: Payload) -> bytes:
    file = BytesIO()
    np.save(file, np.array([payload], dtype=object), allow_pickle=True)
    return file.getvalue()


def array_of_objects_by_another_name(payload: Payload) -> bytes:
    header = "{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,), }"
    return with_header(header, pickled(payload))


def archive_of_arrays(payload: Payload) -> bytes:
    file = BytesIO()
    with ZipFile(file, "w") as archive:
        archive.writestr("a.npy", array_of_objects(payload))
    return file.getvalue()


PAYLOADS = (
    pickled, pickled_by_torch, pickled_by_old_torch, array_of_objects,
    array_of_objects_by_another_name, archive_of_arrays,
)  # fmt: skip


@pytest.mark.parametrize("make", PAYLOADS)
def test_pickles_run_nothing(
    tmp_path: Path, make: Callable[[Payload], bytes], as_users_run: None
) -> None:
    trace = tmp_path / "trace"
    pickle.loads(pickled(Payload(trace)))  # noqa: S301 - it does its work where it is read
    assert trace.exists()
    trace.unlink()
    path = put(tmp_path, "a.npy", make(Payload(trace)))
    for name, read in READERS.items():
        refused(lambda read=read: read(path), path, r"expected|not a|cannot|other things")
        assert not trace.exists(), name


def test_states_of_long_work_are_no_pickles(tmp_path: Path) -> None:
    state = FileCheckpoint(tmp_path / "state", work=1)
    state.save({"a": torch.zeros(2)})
    state.flush()
    (path,) = (tmp_path / "state").glob("*.safetensors")
    path.write_bytes(pickled_by_torch(Payload(tmp_path / "trace")))
    with pytest.warns(UserWarning, match=path.name):
        assert FileCheckpoint(tmp_path / "state", work=1).load() is None
    assert not (tmp_path / "trace").exists()


def test_hdf5_of_objects_is_no_scan(tmp_path: Path) -> None:
    """Texts, lists and references are Python's objects once they are read."""
    path = tmp_path / "scan.h5"
    kinds = (h5py.string_dtype(), h5py.vlen_dtype(np.float32), h5py.ref_dtype, np.dtype("V9"))
    for kind in kinds:
        with h5py.File(path, "w") as file:
            file.create_dataset("sinogram", (12, 9), dtype=kind)
        refused(lambda: open_sinogram(path), path, "expected real numbers, found dtype")


def test_matlab_cells_and_objects_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"m": np.array([1, "a"], dtype=object)})
    assert isinstance(read_matlab(path)["m"], str)
    refused(lambda: open_sinogram(path, dataset="m"), path, "m")
