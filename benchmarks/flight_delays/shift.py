"""How the epistemic standard deviation follows the shift: by part, by month, by distance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from bayesnn.calibration import ood_auroc
from bayesnn.files import atomic_write
from benchmarks.flight_delays.methods import BASE
from benchmarks.flight_delays.outcome import OUTSIDE, Outcome
from benchmarks.flight_delays.scores import Scores
from benchmarks.flight_delays.split import INSIDE, LATER, LATER_UNSEEN, UNSEEN

PARTS = (INSIDE, UNSEEN, LATER, LATER_UNSEEN)
QUARTERS = ("nearest quarter", "second", "third", "farthest quarter")
COLUMNS = ("method", *PARTS, *QUARTERS, "AUROC")


def shift_table(outcome: Outcome) -> list[tuple[str, ...]]:
    """Return, for each method, "epistemic standard deviation / RMSE" in minutes, in groups."""
    quarter = quarters(together(outcome.distance))
    lines = []
    for name in outcome.methods:
        scores = _all(outcome, name)
        inside, outside = (outcome.of(name, part)["epistemic"] for part in (INSIDE, OUTSIDE))
        lines.append((
            name,
            *(_pair(outcome.of(name, part)) for part in PARTS),
            *(_pair(scores, quarter == i) for i in range(4)),
            f"{float(ood_auroc(inside, outside)):.2f}" if inside.any() else "–",
        ))
    return lines


def quarters(distance: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Return 0 for the quarter of the flights nearest to the training rows, to 3."""
    rank = np.argsort(np.argsort(distance, kind="stable"), kind="stable")
    return 4 * rank // len(distance)


def together(what: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return a property of the flights of all parts, one after another."""
    return np.concatenate([what[part] for part in PARTS])


def draw_shift(outcome: Outcome, path: Path) -> None:
    """Write the figure: epistemic standard deviation by month, distance and airport."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4.6), layout="constrained")
    by_month, by_distance, by_airport = figure.subplots(1, 3)
    month, distance = together(outcome.month), together(outcome.distance)
    tenth = 10 * np.argsort(np.argsort(distance, kind="stable")) // len(distance)
    shown = [name for name in outcome.methods if _all(outcome, name)["epistemic"].any()]
    for i, name in enumerate(shown):
        scores, style = _all(outcome, name), f"C{i % 10}" + ("-" if i < 10 else "--")
        seen = np.unique(month)
        by_month.plot(seen, list(_roots(scores, month, "epistemic")), style, label=name, marker=".")
        centres = [np.median(distance[tenth == t]) for t in np.unique(tenth)]
        by_distance.plot(centres, list(_roots(scores, tenth, "epistemic")), style, marker=".")
        sizes = [np.sqrt(outcome.of(name, part)["epistemic"].mean()) for part in PARTS]
        by_airport.plot(range(len(PARTS)), sizes, style, marker=".")
    if BASE in outcome.scores:
        scores = _all(outcome, BASE)
        errors = list(_roots(scores, month, "square"))
        by_month.plot(np.unique(month), errors, "k:", label=f"RMSE, {BASE}")
        by_distance.plot(centres, list(_roots(scores, tenth, "square")), "k:")
    by_month.set(title="By month", xlabel="month", ylabel="epistemic sd, minutes", yscale="log")
    by_distance.set(
        title="By distance from the training rows, tenths of the flights", yscale="log",
        xlabel="to the nearest one, standardised features",
    )  # fmt: skip
    by_airport.set(title="By part", yscale="log")
    by_airport.set_xticks(range(len(PARTS)), [p.replace(", ", ",\n") for p in PARTS], fontsize=8)
    figure.legend(loc="outside lower center", ncols=7, fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png", metadata={"Software": None})


def _all(outcome: Outcome, method: str) -> Scores:
    parts = [outcome.of(method, part) for part in PARTS]
    return {
        name: np.concatenate([part[name] for part in parts]) for name in ("epistemic", "square")
    }


def _roots(scores: Scores, groups: np.ndarray, what: str) -> Iterator[float]:
    for group in np.unique(groups):
        yield float(np.sqrt(scores[what][groups == group].mean()))


def _pair(scores: Scores, where: Bool[np.ndarray, " n"] | None = None) -> str:
    taken = slice(None) if where is None else where
    epistemic, rmse = (np.sqrt(scores[name][taken].mean()) for name in ("epistemic", "square"))
    return f"{epistemic:.1f} / {rmse:.1f}"
