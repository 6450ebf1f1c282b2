"""The benchmark of CT slices by several workers runs, and its results agree bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import ct_scale_out


@pytest.mark.slow
def test_the_smoke_run_gives_the_same_numbers_with_two_workers(tmp_path: Path) -> None:
    ct_scale_out.main(["--quick", "--out", str(tmp_path)])
    report = json.loads((tmp_path / "ct_scale_out.json").read_text())
    rows = dict(report["rows"])
    assert rows["largest difference from one process"] == "0"
    assert float(rows["speed-up"]) > 0
