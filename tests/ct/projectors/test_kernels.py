"""The GPU's kernels where there is no GPU: the same code, interpreted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def test_kernels_equal_the_reference_in_the_interpreter() -> None:
    pytest.importorskip("triton", reason="Triton has wheels for Linux only")
    run = subprocess.run(
        [sys.executable, "-m", "tests.ct.projectors.interpreted_kernels"],
        cwd=ROOT, env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
