"""The command line: what it prints, where, and its exit codes."""

from __future__ import annotations

import json
import re
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
from tests.ct.workflow_runs import listing


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


def test_info_of_a_result_says_of_many_levels_the_highest(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["info", f"{folder}/rec.h5"]) == 0
    lines = {line.partition("  ")[0]: line for line in capsys.readouterr().out.splitlines()}
    for name in ("half widths", "held out coverage"):
        assert re.search(
            r"…, 0\.85 \S+, 0\.9 \S+, 0\.95 \S+, 0\.99 \S+ \(20 in all\)$", lines[name]
        )
    assert "mean fbp, n_folds 3, n_samples 2" in lines["settings"]


def test_counts_reconstruct_as_their_line_integrals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).uniform(0.5, 2, size=(12, 17)).astype(np.float32)
    counts = np.round(1e6 * np.exp(-values))
    with h5py.File(tmp_path / "counts.data", "w") as file:
        file["sinogram"] = counts
        file.attrs["units"] = "counts"
    np.save(tmp_path / "integrals.npy", -np.log(counts / 1e6))
    labels: list[str] = []
    monkeypatch.setattr(
        "ct.slice_figure.save_figure", lambda _, panels: labels.append(panels[0].label)
    )
    common = f"--method fbp --angles 0:180:12 --degrees --figure {tmp_path}/a.png"
    for name, more in (("counts.data", "--i0 1000000 --counts"), ("integrals.npy", "")):
        files = ["reconstruct", f"{tmp_path}/{name}", "-o", f"{tmp_path}/{name}.h5"]
        assert run([*files, *common.split(), *more.split()]) == 0
    with h5py.File(tmp_path / "counts.data.h5") as a, h5py.File(tmp_path / "integrals.npy.h5") as b:
        assert a["mean"].shape == (1, 17, 17)
        np.testing.assert_allclose(a["mean"], b["mean"], rtol=1e-4, atol=1e-5)
        assert a.attrs["units"] == "1/mm"
    assert labels == ["line integral", "line integral"]


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


@pytest.mark.filterwarnings("always:memory budget")
def test_a_budget_too_small_for_a_slice_is_said_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["reconstruct", f"{folder}/sino.h5", "-o", f"{folder}/small.h5", "--method", "cgls"]
    assert run([*files, "--memory-budget", "100B"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: memory budget: expected room for a slice, which alone may")


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
