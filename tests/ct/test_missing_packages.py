"""A method whose package is missing is refused in one line, before there is anything to clean."""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from ct.cli import run


@pytest.mark.parametrize("method", ["hmc", "mean-field"])
def test_without_pyro_nothing_starts(
    method: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in {"pyro", *(name for name in sys.modules if name.split(".")[0] == "pyro")}:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delattr("ct.run_loop.open_partial")  # what would put the first byte on the disk
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["sinogram"] = np.ones((1, 12, 9), dtype=np.float32)
        file["angles"] = np.arange(12) * np.pi / 12
    arguments = f"reconstruct {tmp_path}/scan.h5 -o {tmp_path}/rec.h5 --line-integrals"
    assert run([*arguments.split(), "--method", method]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith(f"error: --method {method}: ")
    assert "pip install pyro-ppl" in line
    assert [path.name for path in tmp_path.iterdir()] == ["scan.h5"]
