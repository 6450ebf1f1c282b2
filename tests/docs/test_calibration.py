"""The page on calibration: its examples run, and the names that it lists are there."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import bayesnn.calibration

PAGE = Path(__file__).parents[2] / "docs" / "calibration.md"


def test_examples_run() -> None:
    failed, tried = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert (failed, tried > 5) == (0, True)


def test_names_are_there() -> None:
    named = set(re.findall(r"`((?:fit|plot|pit|nll|crps)_\w+)", PAGE.read_text(encoding="utf-8")))
    assert len(named) > 15
    assert named <= set(dir(bayesnn.calibration))
