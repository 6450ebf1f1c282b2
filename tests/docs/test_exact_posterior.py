"""The tutorial on exact posteriors shows what it says, at a small size."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "tutorials" / "exact_posterior.py"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Any:
    figure = tmp_path_factory.mktemp("tutorial") / "figure.png"
    main = runpy.run_path(str(SCRIPT))["main"]
    found = main(["--width", "256", "--members", "12", "--figure", str(figure)])
    assert figure.read_bytes().startswith(b"\x89PNG")
    return found


def test_ntkgp_members_are_nearly_as_wide_as_the_posterior(shown: Any) -> None:
    points = shown.ntkgp.all_points
    assert points.n_points == 25
    assert 0.8 < points.std_ratio < 1.5  # narrow networks are a quarter too wide


def test_a_deep_ensemble_is_told_apart_and_too_narrow(shown: Any) -> None:
    assert not shown.deep.accepts()
    assert shown.deep.all_points.std_ratio < 0.5


def test_anchored_members_fit_their_own_distribution_and_not_the_posterior(shown: Any) -> None:
    assert shown.anchored.all_points.std_ratio == pytest.approx(1.0, abs=0.25)
    assert not shown.anchored_against_ntkgp.accepts()
    assert shown.anchored_against_ntkgp.far.std_ratio < 0.7
