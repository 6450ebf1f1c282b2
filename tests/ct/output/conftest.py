"""A result file to convert."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ct.output.small_results import make


@pytest.fixture
def result(tmp_path: Path) -> Path:
    make().save(tmp_path / "rec.h5")
    return tmp_path / "rec.h5"
