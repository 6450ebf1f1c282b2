"""The Helsinki page runs, with a loose gap, and its disc is found."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "scans" / "helsinki.py"


@pytest.mark.data
@pytest.mark.slow
def test_disc_is_found_from_a_quarter_turn(data_dir: Path, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("helsinki", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    page = importlib.util.module_from_spec(spec)
    sys.modules["helsinki"] = page
    spec.loader.exec_module(page)
    shown = page.main(["--data-dir", str(data_dir), "--output", str(tmp_path), "--quick"])
    assert all(value >= 0.85 for value in shown.dice.values())
    assert shown.chi_squared["without bounds"] < 3
    assert (tmp_path / "helsinki.png").is_file()
