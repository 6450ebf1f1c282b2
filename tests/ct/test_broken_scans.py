"""The matrix of broken scans: one clear line, exit code 2, and nothing half-written."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile

from ct.cli import run
from ct.method_names import METHOD_NAMES
from tests.ct.file_limits import python_with_small_files

VIEWS, ROWS, BINS = 12, 2, 9
COUNTS = np.random.default_rng(0).integers(500, 4000, (VIEWS, ROWS, BINS)).astype(np.float32)
INTEGRALS = np.random.default_rng(0).uniform(0.1, 2, (VIEWS, BINS)).astype(np.float32)
DEGREES = np.arange(VIEWS) * 180.0 / VIEWS

Broken = Callable[[Path], str]
"""Makes files in a folder and returns the command line's input and options."""


def exchange(folder: Path, **changes: Any) -> str:
    """A Data Exchange file with some of its datasets changed, or left out where None."""
    datasets: dict[str, Any] = {
        "data": COUNTS,
        "data_white": np.full((3, ROWS, BINS), 5000.0) + np.arange(3)[:, None, None],
        "data_dark": np.full((3, ROWS, BINS), 100.0) + np.arange(3)[:, None, None],
        "theta": DEGREES,
        **changes,
    }
    units = datasets.pop("units", "degrees")
    with h5py.File(folder / "scan.h5", "w") as file:
        for name, values in datasets.items():
            if values is not None:
                file[f"exchange/{name}"] = values
        if datasets["theta"] is not None:
            file["exchange/theta"].attrs["units"] = units
    return f"{folder}/scan.h5"


def plain(folder: Path, values: np.ndarray, *, name: str = "sinogram") -> str:
    with h5py.File(folder / "scan.h5", "w") as file:
        file[name] = values
        file["angles"] = np.deg2rad(DEGREES)
    return f"{folder}/scan.h5"


def npy(folder: Path, values: np.ndarray, name: str = "scan.npy") -> str:
    np.save(folder / name, values)
    return f"{folder}/{name}"


def raw(folder: Path, content: bytes, name: str) -> str:
    (folder / name).write_bytes(content)
    return f"{folder}/{name}"


def truncated(folder: Path, path: str, part: float) -> str:
    content = Path(path).read_bytes()
    return raw(folder, content[: int(part * len(content))], Path(path).name)


def tiff(folder: Path, values: np.ndarray) -> str:
    tifffile.imwrite(folder / "scan.tif", values, photometric="minisblack")
    return f"{folder}/scan.tif"


def matlab(folder: Path, content: dict[str, Any]) -> str:
    scipy.io.savemat(folder / "scan.mat", content, do_compression=True)
    return f"{folder}/scan.mat"


def empty_folder(folder: Path) -> str:
    (folder / "slices").mkdir()
    return f"{folder}/slices"


def with_nan(values: np.ndarray, where: Any) -> np.ndarray:
    changed = values.copy()
    changed[where] = np.nan
    return changed


ANGLES = f"--angles 0:180:{VIEWS} --degrees"
RADIANS = np.deg2rad(DEGREES)

BROKEN: dict[str, tuple[Broken, str]] = {
    "wrong dataset": (lambda f: plain(f, INTEGRALS, name="data"), "found angles (12), data (12×9)"),
    "dataset not there": (
        lambda f: exchange(f) + " --dataset exchange/sino",
        "expected a dataset 'exchange/sino', found exchange/data (12×2×9)",
    ),
    "dataset of a .npy": (
        lambda f: npy(f, INTEGRALS) + " --dataset a",
        "--dataset names what HDF5 and MATLAB files hold",
    ),
    "dataset is a group": (lambda f: exchange(f) + " --dataset exchange", "found exchange/data"),
    "missing theta": (lambda f: exchange(f, theta=None), "holds no angles; give them"),
    "degrees called radians": (lambda f: exchange(f, units="radians"), "they look like degrees"),
    "radians called degrees": (lambda f: exchange(f, theta=RADIANS), "they look like radians"),
    "degrees without --degrees": (
        lambda f: npy(f, INTEGRALS) + f" --angles 0:180:{VIEWS}",
        "say --degrees",
    ),
    "theta of nan": (lambda f: exchange(f, theta=with_nan(DEGREES, 3)), "1 NaN or infinite of 12"),
    "theta of another length": (
        lambda f: exchange(f, theta=DEGREES[:7]),
        "12 views (shape [2, 12, 9]) but the file holds 7 angles",
    ),
    "theta of text": (
        lambda f: exchange(f, theta=np.array([b"a"] * VIEWS)),
        "exchange/theta: expected numbers",
    ),
    "counts below dark": (
        lambda f: exchange(f, data_dark=np.full((3, ROWS, BINS), 4500.0)),
        "at or below it",
    ),
    "all-zero flats": (
        lambda f: exchange(f, data_white=np.zeros((3, ROWS, BINS)), data_dark=None),
        "flats: expected readings above the dark level, found none in any of 9 bins",
    ),
    "flats below darks": (
        lambda f: exchange(f, data_white=np.full((3, ROWS, BINS), 50.0)),
        "neither empty nor exchanged",
    ),
    "flats of nan": (
        lambda f: exchange(f, data_white=np.full((3, ROWS, BINS), np.nan)),
        "flats: expected readings above the dark level",
    ),
    "flats of another width": (
        lambda f: exchange(f, data_white=np.full((3, ROWS, BINS + 1), 5000.0)),
        "data_white: expected 2 slices of 9 detectors",
    ),
    "flat file of another width": (
        lambda f: f"{npy(f, COUNTS[:, 0])} {ANGLES} --flats {npy(f, np.ones(5), 'flat.npy')}",
        "--flats: ",
    ),
    "no flat file": (
        lambda f: f"{npy(f, COUNTS[:, 0])} {ANGLES} --flats {f}/none.npy",
        "no such file",
    ),
    "flats and i0": (
        lambda f: f"{npy(f, COUNTS[:, 0])} {ANGLES} --i0 9 --flats {npy(f, np.ones(9), 'f.npy')}",
        "give one of them",
    ),
    "counts without i0": (lambda f: f"{npy(f, COUNTS[:, 0])} {ANGLES}", "give --i0"),
    "negative counts": (
        lambda f: f"{npy(f, -COUNTS[:, 0])} {ANGLES} --counts --i0 5000",
        "counts cannot be negative",
    ),
    "a row of nan": (lambda f: plain(f, with_nan(INTEGRALS, 4)), "9 NaN or infinite in slice 0"),
    "a column of nan in counts": (
        lambda f: exchange(f, data=with_nan(COUNTS, np.s_[:, 1, 3])),
        "12 NaN or infinite in slice 1 (the first at view 0, detector 3)",
    ),
    "one view": (
        lambda f: f"{npy(f, INTEGRALS[:1])} --angles 0:180:1 --degrees",
        "one view",
    ),
    "truncated hdf5": (lambda f: truncated(f, exchange(f), 0.5), "truncated or damaged"),
    "truncated npy": (lambda f: truncated(f, npy(f, INTEGRALS), 0.5), "truncated"),
    "truncated tiff": (lambda f: truncated(f, tiff(f, COUNTS), 0.5) + f" {ANGLES}", "truncated"),
    "truncated matlab": (
        lambda f: truncated(f, matlab(f, {"a": COUNTS}), 0.5),
        "truncated or damaged",
    ),
    "text called .h5": (lambda f: raw(f, b"theta, counts\n1, 2\n", "scan.h5"), "another kind"),
    "nothing in it": (lambda f: raw(f, b"", "scan.h5"), "the file is empty"),
    "not there": (lambda f: f"{f}/scan.h5", "no such file"),
    "four dimensions": (lambda f: plain(f, COUNTS[None]), "found shape [1, 12, 2, 9]"),
    "one dimension": (lambda f: npy(f, INTEGRALS[0]), "found shape [9]"),
    "no values": (lambda f: npy(f, INTEGRALS[:0]), "found shape [0, 9]"),
    "complex": (lambda f: plain(f, INTEGRALS + 1j), "expected real numbers, found dtype complex"),
    "complex tiff": (lambda f: tiff(f, COUNTS.astype(complex)), "expected real numbers"),
    "text values": (lambda f: plain(f, np.array([[b"a"]])), "expected real numbers"),
    "python objects": (
        lambda f: raw(f, _pickled(f), "scan.npy"),
        "Python objects",
    ),
    "empty folder": (empty_folder, "found no file in it"),
    "folder of other files": (lambda f: (raw(f, b"a", "a.txt"), str(f))[1], "folder of TIFF files"),
    "matlab without the struct": (
        lambda f: matlab(f, {"m": INTEGRALS}),
        "expected one struct with fields 'sinogram' and 'parameters', found m (12×9)",
    ),
    "matlab struct without geometry": (
        lambda f: matlab(f, {"CtData": {"sinogram": INTEGRALS, "parameters": {"angles": DEGREES}}}),
        "expected distanceSourceOrigin",
    ),
    "geometry of nonsense": (lambda f: _geometry(f, "{nonsense"), "geometry: expected a JSON"),
    "half a fan": (
        lambda f: f"{npy(f, INTEGRALS)} {ANGLES} --source-origin 50",
        "needs both",
    ),
    "source inside the image": (
        lambda f: f"{npy(f, INTEGRALS)} {ANGLES} --source-origin 2.5 --source-detector 3",
        "corners nearer to the axis",
    ),
}


def _pickled(folder: Path) -> bytes:
    np.save(folder / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    content = (folder / "o.npy").read_bytes()
    (folder / "o.npy").unlink()
    return content


def _geometry(folder: Path, text: str) -> str:
    path = plain(folder, INTEGRALS)
    with h5py.File(path, "a") as file:
        file.attrs["geometry"] = text
    return path


def assert_refused(
    arguments: str, named: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Run a command that must fail, and look at all that it may have left behind."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert run(arguments.split()) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1, printed.err
    assert printed.err.startswith("error: ")
    assert named in printed.err
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize("case", BROKEN)
def test_reconstruct_refuses(tmp_path: Path, capfd: pytest.CaptureFixture[str], case: str) -> None:
    make, named = BROKEN[case]
    arguments = f"reconstruct {make(tmp_path)} -o {tmp_path}/rec.h5 --method fbp"
    assert_refused(arguments, named, tmp_path, capfd)


FOR_EVERY_METHOD: dict[str, tuple[Broken, str]] = {
    **{name: BROKEN[name] for name in ("a row of nan", "one view", "counts without i0")},
    "noise that drowns everything": (
        lambda f: plain(f, INTEGRALS) + " --noise-std 1000",
        "--noise-std: expected the noise of a ray in the sinogram's units, got 1e+03",
    ),
    "no noise to be found": (
        lambda f: plain(f, np.ones_like(INTEGRALS)),
        "found no noise in them; pass noise_std",
    ),
}


@pytest.mark.parametrize("method", METHOD_NAMES)
@pytest.mark.parametrize("case", FOR_EVERY_METHOD)
def test_every_method_refuses(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], case: str, method: str
) -> None:
    make, named = FOR_EVERY_METHOD[case]
    arguments = f"reconstruct {make(tmp_path)} -o {tmp_path}/rec.h5 --method {method}"
    assert_refused(arguments, named, tmp_path, capfd)


SAID_BY_INFO_INSTEAD = {"missing theta", "counts without i0", "one view"}
"""What `info` describes, with a note, because it is there to be asked about such files."""


@pytest.mark.parametrize("case", BROKEN)
def test_info_refuses_or_says_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], case: str
) -> None:
    make, named = BROKEN[case]
    arguments = f"info {make(tmp_path)}"
    if case in SAID_BY_INFO_INSTEAD:
        assert run(arguments.split()) == 0
        assert "note: " in capfd.readouterr().out
    else:
        assert_refused(arguments, named, tmp_path, capfd)


def test_the_unbroken_file_is_reconstructed(tmp_path: Path) -> None:
    """Or all of the above would pass for another reason."""
    assert run(f"reconstruct {exchange(tmp_path)} -o {tmp_path}/a.h5 --method fbp".split()) == 0
    path = plain(tmp_path, INTEGRALS)
    assert run(f"reconstruct {path} -o {tmp_path}/b.h5 --method fbp".split()) == 0


@pytest.mark.parametrize(
    ("target", "named"),
    [("none/rec.h5", "does not exist"), ("", "found a folder"), ("scan.h5", "is the input")],
)
def test_a_target_that_cannot_be_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], target: str, named: str
) -> None:
    arguments = f"reconstruct {exchange(tmp_path)} -o {tmp_path}/{target} --method fbp"
    assert_refused(arguments, named, tmp_path, capfd)


def test_a_read_only_target(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a folder without the right to write; root may write into every folder."""

    def refused(*_: Any, **__: Any) -> Any:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    path = exchange(tmp_path)
    monkeypatch.setattr("tempfile.NamedTemporaryFile", refused)
    assert_refused(
        f"reconstruct {path} -o {tmp_path}/rec.h5 --method fbp", "ermission", tmp_path, capfd
    )


@pytest.mark.parametrize(("command", "kib"), [("reconstruct", 24), ("simulate", 8)])
def test_a_disk_that_fills_up(tmp_path: Path, command: str, kib: int) -> None:
    """A process whose files may grow to some KiB alone sees a full disk's error."""
    if command == "reconstruct":
        angles = np.arange(20) * np.pi / 20
        with h5py.File(tmp_path / "in.h5", "w") as file:
            file["sinogram"] = np.random.default_rng(0).uniform(size=(30, 20, 40))
            file["angles"] = angles
        arguments = ["reconstruct", "in.h5", "-o", "out.h5", "--method", "fbp", "--device", "cpu"]
    else:
        np.save(tmp_path / "in.npy", np.random.default_rng(0).uniform(size=(30, 20, 20)))
        arguments = ["simulate", "in.npy", "-o", "out.h5", "--views", "30"]
    before = sorted(path.name for path in tmp_path.iterdir())
    code = "import signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    code += "import ct.cli; sys.exit(ct.cli.run(sys.argv[1:]))"
    done = subprocess.run(
        [*python_with_small_files(kib * 1024), "-c", code, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert "out.h5" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == before
