"""The report on memory budgets, in small."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.memory_budget import main


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/clear_refs")
def test_a_quick_run_reports_peaks_of_fit_predict_and_reconstruct(tmp_path: Path) -> None:
    text = main(["--quick", "--out", str(tmp_path)]).read_text()
    assert "3 of 3 peaks are at most 1.1 times the budget" in text
    for work in ("fit: ", "predict: ", "reconstruct: "):
        assert f"| {work}" in text
