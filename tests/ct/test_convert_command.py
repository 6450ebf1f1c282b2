"""`bayesnn-ct convert`, as a shell sees it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ct.cli import run
from tests.ct.output.small_results import expected, listing, make, values_in


@pytest.fixture
def result(tmp_path: Path) -> Path:
    make().save(tmp_path / "rec.h5")
    return tmp_path / "rec.h5"


@pytest.mark.parametrize("what", ["mean", "std", "lower", "upper"])
def test_it_writes_what_was_asked_and_says_so(
    result: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = result.with_name("out.nii.gz")
    assert run(["convert", str(result), str(output), "--what", what, "--level", "0.5"]) == 0
    np.testing.assert_array_equal(values_in(output, what), expected(result, what, 0.5))
    printed = capsys.readouterr()
    assert printed.out.startswith(f"wrote {output} (3 slices, ")
    assert "mc-dropout, HU)" in printed.out
    assert len(printed.out.splitlines()) == 1
    assert printed.err == ""


def test_json_names_the_folder_of_a_series(
    result: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["convert", str(result), str(result.with_name("out.dcm")), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {
        "output": str(result.with_name("out")),
        "description": "mean, mc-dropout",
        "units": "HU",
        "slices": 3,
        "window": "",
    }


def test_a_picture_through_a_window(result: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = result.with_name("out.png")
    assert run(["convert", str(result), str(output), "--slice", "1", "--window", "-400:100"]) == 0
    assert "1 slice, mean, mc-dropout, HU, black -400, white 100" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("rec.h5 out.png", "--slice"),
        ("rec.h5 out.png --slice 0 --window wide", "--window"),
        ("rec.h5 out.gif", ".nii.gz"),
        ("rec.h5 out.npy --what sigma", "--what"),
        ("none.h5 out.npy", "no such file"),
        ("plain.h5 out.npy --what std", "gives no uncertainty"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    result: Path, capsys: pytest.CaptureFixture[str], arguments: str, named: str
) -> None:
    make(uncertain=False).save(result.with_name("plain.h5"))
    first, second, *rest = arguments.split()
    assert run(["convert", str(result.with_name(first)), str(result.with_name(second)), *rest]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert len(printed.err.splitlines()) == 1
    assert named in printed.err
    assert listing(result.parent) == ["plain.h5", "rec.h5"]
