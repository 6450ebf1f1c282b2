"""The picture of a slice whose truth is known."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "known_slice.py"


@pytest.mark.slow
def test_picture_and_scores_are_made(tmp_path: Path) -> None:
    main = runpy.run_path(str(SCRIPT))["main"]
    settings = '{"steps": 40, "centre_steps": 40, "n_samples": 5}'
    shown = main(["--output", str(tmp_path), "--method", "mc-dropout", "--settings", settings])
    assert (tmp_path / "known_slice.png").read_bytes().startswith(b"\x89PNG")
    assert shown.method == "mc-dropout"
    assert shown.scores["TV"].psnr > shown.scores["FBP"].psnr + 2
    assert shown.scores["mean"].uncertainty is not None
    assert shown.width > 0
