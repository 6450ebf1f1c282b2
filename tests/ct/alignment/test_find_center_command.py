"""`bayesnn-ct find-center`: from a file to a centre, on stdout."""

from __future__ import annotations

import json
import math
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import ct
from ct.cli import run
from tests.reference.ellipses import line_integrals, random_ellipses, with_noise


@pytest.fixture
def sinogram_file(tmp_path: Path) -> Path:
    scan = ct.ParallelBeam([math.pi * k / 60 for k in range(60)], 160, center=77.3)
    clean = [line_integrals(random_ellipses(seed, radius=65), scan) for seed in range(20)]
    noisy = torch.stack([with_noise(one, snr_db=40, seed=k)[0] for k, one in enumerate(clean)])
    path = tmp_path / "sino.h5"
    with h5py.File(path, "w") as file:
        file["sinogram"] = noisy.numpy().astype(np.float32)
        file["angles"] = np.array(scan.angles)
    return path


def test_center_and_error_are_printed(
    sinogram_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["find-center", f"{sinogram_file}"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    center, error = printed.out.split(" (")[0].split(" ± ")
    assert abs(float(center) - 77.3) < 0.1
    assert 0 < float(error) < 0.1


def test_json_is_all_there_is(sinogram_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["find-center", f"{sinogram_file}", "--line-integrals", "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert abs(found["center"] - 77.3) < 0.1
    assert found["center_before"] == 79.5
    assert len(found["slices"]) == 16
    assert found["notes"] == []
    assert printed.err == ""


def test_doubts_go_to_stderr(sinogram_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    angles = [str(math.pi / 2 * k / 60) for k in range(60)]
    listed = sinogram_file.with_name("angles.txt")
    listed.write_text(" ".join(angles))
    assert run(["find-center", f"{sinogram_file}", "--angles", f"{listed}"]) == 0
    assert "less than half a turn" in capsys.readouterr().err


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["find-center", f"{tmp_path}/nothing.h5"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
