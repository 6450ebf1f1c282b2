"""The command line: what it prints, where, its exit codes, and bad input in one line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from skimage import io

from bayesnn.versions import installed_versions
from ct.cli import run
from ct.method_names import METHOD_NAMES

TINY = {"mean": "fbp", "n_folds": 3, "n_samples": 2}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an image of two slices, its sinogram, a configuration and a result."""
    folder = tmp_path_factory.mktemp("prepared")
    image = np.random.default_rng(0).uniform(1, 2, size=(2, 16, 16))
    np.save(folder / "image.npy", image)
    (folder / "tiny.json").write_text(json.dumps({"settings": TINY, "device": "cpu"}))
    arguments = f"simulate {folder}/image.npy -o {folder}/sino.h5 --views 12 --seed 1"
    assert run(arguments.split()) == 0
    arguments = f"reconstruct {folder}/sino.h5 -o {folder}/rec.h5 --config {folder}/tiny.json"
    assert run(arguments.split()) == 0
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    """A fresh copy of what was prepared."""
    return Path(shutil.copytree(prepared, tmp_path / "folder"))


def listing(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}


@pytest.mark.parametrize("arguments", [[], ["--help"], ["reconstruct", "--help"]])
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 0
    printed = capsys.readouterr()
    assert "Usage: bayesnn-ct" in printed.out
    assert printed.err == ""


def test_simulate_reconstruct_evaluate(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(folder / "rec.h5") as file:
        assert file["mean"].shape == file["std"].shape == (2, 16, 16)
    assert run(["evaluate", f"{folder}/rec.h5", "--truth", f"{folder}/image.npy"]) == 0
    printed = capsys.readouterr()
    assert "PSNR" in printed.out
    assert "95 % interval: coverage" in printed.out
    assert printed.err == ""


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        ("info {0}/sino.h5 --json", {"kind", "slices", "views", "units", "values", "geometry"}),
        ("info {0}/rec.h5 --json", {"kind", "method", "settings", "units", "mean_shape"}),
        ("info {0}/image.npy --json", {"kind", "values", "geometry"}),
        ("evaluate {0}/rec.h5 --truth {0}/image.npy --json", {"mean", "slices", "units"}),
        (
            "reconstruct {0}/sino.h5 -o {0}/b.h5 --method fbp --slices 1:2 --json",
            {
                "output",
                "method",
                "device",
                "slices",
                "resumed",
                "seconds",
                "units",
                "noise",
                "raised_counts",
                "missing_rays",
                "examined",
                "findings",
                "calibration",
                "warnings",
            },
        ),
    ],
)
def test_json_is_one_object_and_nothing_else(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: str, keys: set[str]
) -> None:
    assert run(arguments.format(folder).split()) == 0
    printed = capsys.readouterr()
    assert keys <= set(json.loads(printed.out))
    assert printed.err == ""


def test_info_says_what_it_takes_the_values_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "counts.npy", np.full((3, 8), 4000))
    assert run(["info", f"{tmp_path}/counts.npy", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["values"], said["values_from"], said["geometry"]) == ("counts", "recognised", None)
    arguments = "--line-integrals --angles 0:180:3 --degrees --pixel-size 0.5 --center 3"
    assert run(["info", f"{tmp_path}/counts.npy", "--json", *arguments.split()]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["values"], said["values_from"]) == ("line integrals", "given")
    assert said["last_angle_degrees"] == pytest.approx(120)
    assert (said["pixel_size_mm"], said["detector_spacing_mm"], said["center"]) == (0.5, 0.5, 3)
    assert run(["info", f"{tmp_path}/counts.npy"]) == 0
    assert "counts" in capsys.readouterr().out


def test_counts_reconstruct_as_their_line_integrals(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(0.5, 2, size=(12, 17)).astype(np.float32)
    counts = np.round(1e6 * np.exp(-values))
    np.save(tmp_path / "counts.npy", counts)
    np.save(tmp_path / "integrals.npy", -np.log(counts / 1e6))
    common = "--method fbp --angles 0:180:12 --degrees"
    for name, more in (("counts", "--i0 1000000"), ("integrals", "")):
        files = ["reconstruct", f"{tmp_path}/{name}.npy", "-o", f"{tmp_path}/{name}.h5"]
        assert run([*files, *common.split(), *more.split()]) == 0
    with h5py.File(tmp_path / "counts.h5") as a, h5py.File(tmp_path / "integrals.h5") as b:
        assert a["mean"].shape == (1, 17, 17)
        np.testing.assert_allclose(a["mean"], b["mean"], rtol=1e-4, atol=1e-5)
        assert a.attrs["units"] == "1/mm"


@pytest.mark.parametrize("name", ["c.toml", "c.json"])
def test_config_file_gives_options_and_the_command_line_comes_first(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    config = {"method": "fbp", "slices": "0:1", "settings": {"window": "ramp"}}
    text = 'method = "fbp"\nslices = "0:1"\n[settings]\nwindow = "ramp"\n'
    (folder / name).write_text(json.dumps(config) if name == "c.json" else text)
    files = ["reconstruct", f"{folder}/sino.h5", "-o", f"{folder}/c.h5"]
    assert run([*files, "--config", f"{folder}/{name}", "--slices", "1:2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["method"], said["slices"]) == ("fbp", [1])
    with h5py.File(folder / "c.h5") as file:
        assert json.loads(file.attrs["settings"]) == {"window": "ramp"}


def test_reconstruct_ends_with_what_it_did(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["reconstruct", f"{folder}/sino.h5", "-o", f"{folder}/b.h5", "--method", "fbp"]
    assert run([*files, "--figure", f"{folder}/b.png", "--noise-std", "0.5"]) == 0
    lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert lines["wrote"] == f"{folder}/b.h5"
    assert lines["slices"] == "2"
    assert lines["method"].startswith("fbp, ")
    assert lines["noise"] == "0.5 a ray, given"
    assert float(lines["seconds"].split(",")[0]) < 60
    picture = io.imread(folder / "b.png")
    assert picture[..., :3].std() > 20


def test_resuming_what_is_done_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["reconstruct", f"{folder}/sino.h5", "-o", f"{folder}/rec.h5", "--resume"]
    before = listing(folder)
    assert run([*files, "--config", f"{folder}/tiny.json"]) == 0
    printed = capsys.readouterr()
    (line,) = printed.out.splitlines()
    assert line.startswith(f"nothing is left to do: {folder}/rec.h5 is whole")
    assert run([*files, "--config", f"{folder}/tiny.json", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["resumed"], said["unchanged"]) == (2, True)
    assert run([*files, "--config", f"{folder}/tiny.json", "--seed", "1"]) == 2
    assert "differs in seed;" in capsys.readouterr().err
    assert run(["info", f"{folder}/rec.h5", "--json"]) == 0
    assert "work" not in json.loads(capsys.readouterr().out)
    assert listing(folder) == before


def test_what_must_be_known_goes_to_stderr_and_the_object_stays_one(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.json").write_text('{"figures": "%s", "memory-budget": "1MB"}' % (tmp_path / "p"))
    files = ["reconstruct", f"{folder}/sino.h5", "-o", f"{tmp_path}/b.h5", "--method", "fbp"]
    more = ["--no-samples", "--noise-std", "30", "--config", f"{tmp_path}/c.json", "--json"]
    assert run([*files, *more]) == 0
    printed = capsys.readouterr()
    (warning,) = printed.err.splitlines()
    assert warning.startswith("warning: noise_std of 30 was given, but")
    assert json.loads(printed.out)["warnings"] == [warning.removeprefix("warning: ")]
    names = sorted(path.name for path in (tmp_path / "p").iterdir())
    assert names == ["slice-0000.png", "slice-0001.png"]


def test_hounsfield_units_on_request(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["reconstruct", f"{folder}/sino.h5", "--config", f"{folder}/tiny.json", "-o"]
    assert run([*base, f"{tmp_path}/hu.h5", "--hu", "--mu-water", "0.5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["units"] == "HU"
    with h5py.File(folder / "rec.h5") as mu, h5py.File(tmp_path / "hu.h5") as hu:
        for name in ("mean", "samples"):
            np.testing.assert_allclose(hu[name], 2000 * (mu[name][()] - 0.5), rtol=1e-4, atol=0.1)
        np.testing.assert_allclose(hu["std"], 2000 * mu["std"][()], rtol=1e-4)
        assert (hu.attrs["units"], hu.attrs["mu_water"]) == ("HU", 0.5)
        assert "mu_water" not in mu.attrs
    assert run(["info", f"{tmp_path}/hu.h5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["units"] == "HU"


def test_help_names_every_method(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["reconstruct", "--help"]) == 0
    help_text = " ".join(capsys.readouterr().out.split())
    assert all(name in help_text for name in METHOD_NAMES)


BAD_COMMANDS = {
    "unknown command": ("frobnicate", "frobnicate"),
    "unknown option": ("info {0}/sino.h5 --colour", "--colour"),
    "missing argument": ("reconstruct", "SINO.h5"),
    "not a number": ("simulate {0}/image.npy -o {0}/b.h5 --views many", "--views"),
    "another geometry": ("simulate {0}/image.npy -o {0}/b.h5 --geometry cone", "--geometry"),
    "no views": ("simulate {0}/image.npy -o {0}/b.h5 --views 0", "views"),
    "missing": ("reconstruct {0}/none.h5 -o {0}/b.h5", "no such file"),
    "empty": ("reconstruct {0}/empty.h5 -o {0}/b.h5", "empty"),
    "truncated": ("reconstruct {0}/short.h5 -o {0}/b.h5", "truncated"),
    "foreign": ("reconstruct {0}/tiny.json -o {0}/b.h5", "another kind of file"),
    "result as sinogram": ("reconstruct {0}/rec.h5 -o {0}/b.h5", "'sinogram'"),
    "sinogram as result": ("evaluate {0}/sino.h5 --truth {0}/image.npy", "result file"),
    "nan": ("reconstruct {0}/nan.npy -o {0}/b.h5 --angles 0:3:3", "NaN"),
    "angle count": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --angles 0:3:5", "12 views"),
    "no angles": ("reconstruct {0}/image.npy -o {0}/b.h5", "--angles"),
    "counts without i0": ("reconstruct {0}/counts.npy -o {0}/b.h5 --angles 0:3:3", "--i0"),
    "no folder": ("reconstruct {0}/sino.h5 -o {0}/none/b.h5", "does not exist"),
    "output is a folder": ("reconstruct {0}/sino.h5 -o {0}", "found a folder"),
    "output of no kind": ("reconstruct {0}/sino.h5 -o {0}/b.txt", "ends in .h5 or .hdf5"),
    "output that is no result": ("reconstruct {0}/sino.h5 -o {0}/keep.h5", "no whole reconstr"),
    "output that is a sinogram": ("reconstruct {0}/sino.h5 -o {0}/hu.h5", "name another output"),
    "scan of no kind": ("simulate {0}/image.npy -o {0}/b.txt", "ends in .h5 or .hdf5"),
    "truth of no kind": (
        "simulate {0}/image.npy -o {0}/b.h5 --truth {0}/t.txt",
        "t.txt: expected a name that ends in .npy",
    ),
    "output is the input": ("reconstruct {0}/sino.h5 -o {0}/sino.h5", "is the input"),
    "unknown method": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --method magic", "magic"),
    "hu without water": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --hu", "--mu-water"),
    "water without hu": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --mu-water 0.02", "--hu"),
    "no water": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --hu --mu-water 0", "--mu-water"),
    "already hu": ("reconstruct {0}/hu.h5 -o {0}/b.h5 --hu --mu-water 0.02", "gives HU"),
    "picture without a format": (
        "reconstruct {0}/sino.h5 -o {0}/b.h5 --method fbp --figure {0}/b.picture",
        ".png",
    ),
    "picture in no folder": (
        "reconstruct {0}/sino.h5 -o {0}/b.h5 --method fbp --figure {0}/none/b.png",
        "does not exist",
    ),
    "unknown device": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --device tpu", "--device"),
    "negative seed": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --seed -1", "--seed"),
    "no such slice": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --slices 1:9", "--slices"),
    "drowned": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --noise-std 1e6", "sinogram's units"),
    "no memory": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --memory-budget lots", "2GB"),
    "no samples": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --method fbp --samples", "no samples"),
    "pictures in a file": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --figures {0}/rec.h5", "--figures"),
    "no noise": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --noise-std 0", "--noise-std"),
    "config key": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --config {0}/key.json", "'stepps'"),
    "config type": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --config {0}/type.json", "seed"),
    "config setting": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --config {0}/set.json", "'stepps'"),
    "config syntax": ("reconstruct {0}/sino.h5 -o {0}/b.h5 --config {0}/syntax.toml", "TOML"),
    "truth of another shape": ("evaluate {0}/rec.h5 --truth {0}/nan2.npy", "shape"),
    "truth with nan": ("evaluate {0}/rec.h5 --truth {0}/nan.npy", "NaN"),
    "demo into a file": ("demo --out {0}/sino.h5", "--out"),
}


@pytest.mark.parametrize("case", BAD_COMMANDS)
def test_bad_input_is_one_line_and_leaves_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    nan = np.ones((3, 8))
    nan[1, 2] = np.nan
    np.save(folder / "nan.npy", nan)
    np.save(folder / "nan2.npy", np.arange(64.0).reshape(8, 8))
    np.save(folder / "counts.npy", np.full((3, 8), 4000))
    shutil.copy(folder / "sino.h5", folder / "hu.h5")
    with h5py.File(folder / "hu.h5", "r+") as file:
        file.attrs["image_units"] = "HU"
    (folder / "empty.h5").touch()
    (folder / "keep.h5").write_text("notes of a year")
    (folder / "short.h5").write_bytes((folder / "sino.h5").read_bytes()[:3000])
    (folder / "key.json").write_text('{"stepps": 3}')
    (folder / "set.json").write_text('{"settings": {"stepps": 3}}')
    (folder / "type.json").write_text('{"seed": "zero"}')
    (folder / "syntax.toml").write_text("method = ")
    before = listing(folder)
    command, named = BAD_COMMANDS[case]
    assert run(command.format(folder).split()) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert printed.err.startswith("error: ")
    assert named in printed.err
    assert listing(folder) == before
    assert not any(path.is_dir() for path in folder.iterdir())


def test_the_console_script_itself(tmp_path: Path) -> None:
    """The exit code and the one line, as a shell sees them."""
    np.save(tmp_path / "nan.npy", np.full((3, 8), np.nan))
    done = subprocess.run(
        [sys.executable, "-m", "ct", "reconstruct", "nan.npy", "-o", "rec.h5"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [done.stderr.rstrip("\n")]
    assert "nan.npy: expected finite values, found 24 NaN" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["nan.npy"]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"bayesnn-ct {installed_versions('bayesnn')['bayesnn']}\n"
    assert printed.err == ""


def test_help_does_not_load_torch() -> None:
    code = "import sys; from ct.cli import run; run([]); sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode
        == 0
    )
