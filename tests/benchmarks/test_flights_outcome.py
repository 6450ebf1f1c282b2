"""What the report says of who won, by month, distance and part, on scores made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.flight_delays.methods import BASE, SAME_PRIOR
from benchmarks.flight_delays.outcome import OUTSIDE, Outcome, lead
from benchmarks.flight_delays.scores import Scores
from benchmarks.flight_delays.shift import PARTS, QUARTERS, draw_shift, quarters, shift_table
from benchmarks.flight_delays.split import (
    INSIDE,
    LATER,
    LATER_UNSEEN,
    OUT_OF_DISTRIBUTION,
    UNSEEN,
    UNSEEN_TRAINING_DAYS,
)

N = 40  # flights a part, four of each day
ALL = (INSIDE, UNSEEN, LATER, LATER_UNSEEN, UNSEEN_TRAINING_DAYS)


def _scores(nll: float, *, epistemic: float = 4.0, seed: int = 0) -> Scores:
    rng = np.random.default_rng(seed)
    y = rng.normal(size=N)
    return {
        "nll": nll + 0.01 * rng.normal(size=N), "crps": np.ones(N), "square": y**2,
        "pit": rng.uniform(size=N), "mean": np.zeros(N), "epistemic": np.full(N, epistemic),
        "variance": np.ones(N), "width50": np.ones(N), "width95": np.full(N, 4.0), "y": y,
    }  # fmt: skip


def _outcome(nll: dict[str, tuple[float, float]], validation: dict[str, float]) -> Outcome:
    """Return an outcome of methods by their NLL in and out of distribution."""
    return Outcome(
        records={name: {"validation_nll": validation.get(name, 9.0)} for name in nll},
        scores={
            name: {
                part: _scores(inside if part == INSIDE else outside, epistemic=i + 1, seed=i)
                for i, part in enumerate(ALL)
            }
            for name, (inside, outside) in nll.items()
        },
        day={part: 100 * i + np.arange(N) // 4 for i, part in enumerate(ALL)},
        month={part: np.full(N, i + 1) for i, part in enumerate(ALL)},
        distance={part: i + np.linspace(0, 0.5, N) for i, part in enumerate(ALL)},
        failed={},
    )


def test_the_best_of_the_family_is_that_of_least_validation_nll() -> None:
    nll = dict.fromkeys((BASE, "NTKGP-param", "NTKGP-lin"), (1.0, 1.0))
    found = _outcome(nll, {BASE: 0.0, "NTKGP-param": 3.0, "NTKGP-lin": 2.0})
    assert found.best_of_family == "NTKGP-lin"
    assert _outcome({BASE: (1.0, 1.0)}, {}).best_of_family is None


def test_lead_tells_of_wins_and_of_losses() -> None:
    nll = {BASE: (1.0, 2.0), "NTKGP-param": (1.5, 1.2), "CatBoost": (1.7, 0.7)}
    said = lead(_outcome(nll, {}), 5000)
    assert said.startswith("5,000 training rows: of the NTKGP ensembles NTKGP-param has")
    assert "out of distribution -0.8000 ± 0.0000 (" in said
    assert said.count("it wins") == 1
    assert said.index("it wins") < said.index("in distribution +0.5000")
    assert "(it loses);" in said
    assert "CRPS, in minutes: out of distribution +0.0000 ± 0.0000" in said
    assert "out of distribution, NTKGP-param loses to CatBoost -0.500 by more" in said
    assert "; in distribution, NTKGP-param loses to deep ensemble -0.500 by more" in (
        said.replace(". in", "; in")
    )


def test_lead_compares_with_deep_ensembles_of_the_same_prior_too() -> None:
    nll = {BASE: (1.0, 2.0), "NTKGP-param": (1.5, 1.2), SAME_PRIOR: (1.7, 0.7)}
    said = lead(_outcome(nll, {}), 5000)
    first, second = said.index(f'that of "{BASE}"'), said.index(f'that of "{SAME_PRIOR}"')
    assert "out of distribution -0.8000" in said[first:second]
    assert "out of distribution +0.5000" in said[second:]
    assert "in distribution -0.2000" in said[second:]


def test_lead_tells_crps_of_the_part_that_it_names() -> None:
    found = _outcome({BASE: (1.0, 1.0), "NTKGP-fn": (1.0, 1.0)}, {})
    found.scores["NTKGP-fn"][INSIDE]["crps"] += 7.0
    said = lead(found, 10)
    assert "CRPS, in minutes: out of distribution +0.0000" in said
    assert ", in distribution +7.0000" in said.split("CRPS")[1]


def test_lead_keeps_clear_losses_apart_from_others() -> None:
    nll = {BASE: (1.0, 1.0), "NTKGP-param": (1.5, 1.2), "CatBoost": (1.49, 1.19)}
    found = _outcome(nll, {})
    for part in ALL:  # no mean of its own, but far from day to day
        found.scores["CatBoost"][part]["nll"] += np.where(found.day[part] % 2, 1.0, -1.0)
    said = lead(found, 10)
    assert said.count("loses to deep ensemble") == 2
    assert said.count("is behind CatBoost -0.010 by less") == 2


def test_lead_without_the_base_or_a_difference() -> None:
    assert "no NTKGP ensemble beside" in lead(_outcome({BASE: (1.0, 1.0)}, {}), 10)
    equal = lead(_outcome({BASE: (1.0, 1.0), "NTKGP-fn": (1.0, 1.0)}, {}), 10)
    assert equal.count("no clear difference") == 2


def test_out_of_distribution_is_three_parts_with_their_days() -> None:
    found = _outcome({BASE: (1.0, 2.0), "NTKGP-fn": (1.0, 3.0)}, {})
    days = found.about(found.day, OUTSIDE)
    assert len(days) == len(found.of(BASE, OUTSIDE)["nll"]) == 3 * N
    assert set(days // 100) == {1, 2, 3}
    expected = np.concatenate([found.scores[BASE][part]["y"] for part in OUT_OF_DISTRIBUTION])
    np.testing.assert_array_equal(found.of(BASE, OUTSIDE)["y"], expected)
    np.testing.assert_array_equal(days[:N], found.day[UNSEEN])
    against = found.against("NTKGP-fn", OUTSIDE)
    assert against is not None
    assert against.mean == pytest.approx(1.0)
    assert against.degrees_of_freedom == 3 * 10 - 1
    assert found.against(BASE, OUTSIDE) is None


def test_quarters_are_by_distance_and_of_equal_size() -> None:
    found = quarters(np.array([0.9, 0.1, 0.5, 0.4, 0.7, 0.0, 0.6, 0.8]))
    assert found.tolist() == [3, 0, 1, 1, 2, 0, 2, 3]


def test_shift_table_has_roots_of_means_by_part_and_by_distance() -> None:
    outcome = _outcome({BASE: (1.0, 2.0)}, {})
    ((name, *cells),) = shift_table(outcome)
    assert name == BASE
    # variances 1 to 4 by part, and distances grow in the same order
    sizes = [float(cell.split(" / ")[0]) for cell in cells[:-1]]
    assert sizes == [1.0, 1.4, 1.7, 2.0] * 2
    assert len(cells) == len(PARTS) + len(QUARTERS) + 1
    rmse = np.sqrt(outcome.scores[BASE][INSIDE]["square"].mean())
    assert cells[0] == f"1.0 / {rmse:.1f}"
    assert cells[-1] == "1.00"


def test_figure_is_written(tmp_path: Path) -> None:
    outcome = _outcome({BASE: (1.0, 2.0), "NTKGP-fn": (1.0, 2.0)}, {})
    draw_shift(outcome, tmp_path / "new" / "shift.png")
    assert (tmp_path / "new" / "shift.png").read_bytes().startswith(b"\x89PNG")
