"""The report on one number of training rows."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.flight_delays.noise import DEGREES
from benchmarks.flight_delays.notes import HISTORY, about_budget, about_data, tried
from benchmarks.flight_delays.outcome import OUTSIDE, Outcome, lead, worded
from benchmarks.flight_delays.run import Prepared
from benchmarks.flight_delays.shift import COLUMNS as SHIFT_COLUMNS
from benchmarks.flight_delays.shift import shift_table
from benchmarks.flight_delays.split import INSIDE, OUT_OF_DISTRIBUTION
from benchmarks.report import Report

COLUMNS = (
    "method", "NLL, validation", "NLL, in", "NLL, out", "less the deep ensemble's, in",
    "less the deep ensemble's, out", "RMSE, in", "RMSE, out", "CRPS, in", "CRPS, out",
    "seconds of the fit",
)  # fmt: skip
CALIBRATION = (
    "method", "part", "in 50 %", "in 95 %", "width 50 %", "width 95 %", "ECE",
    "one width: in 95 %", "one width: width 95 %", "one width: NLL",
)  # fmt: skip


SCORES = (
    "In: {inside}, days held out; out: {outside}. NLL in nats and CRPS in minutes a flight, of "
    "mixtures: of networks of Student's t with {degrees} degrees of freedom, the members or draws, "
    "whose noise depends on the flight; of CatBoost of Gaussians likewise; of Gaussian processes "
    "one Gaussian of constant noise. Differences are paired by flight, "
    "their standard errors (SE) clustered by day."
)
INTERVALS = (
    "Intervals: central, of the mixture. One width: a Gaussian of the same mean and of one "
    "standard deviation for all flights, the root mean square of the method's own."
)
SHIFT = (
    "Epistemic standard deviation / RMSE, in minutes, by part and by the distance of the "
    "features from the nearest training row, of the flights in and out of distribution; AUROC: "
    "how well the epistemic variance tells those out of distribution from the others."
)


def flights_report(outcome: Outcome, prepared: Prepared, *, name: str, command: str) -> Report:
    """Return the report; `name` is also that of the figure beside it."""
    rows = prepared.setting.rows
    parts = prepared.split.tests
    notes = [
        SCORES.format(inside=INSIDE, outside=", ".join(OUT_OF_DISTRIBUTION), degrees=DEGREES),
        about_data(prepared),
        about_budget(outcome, prepared),
        HISTORY,
        INTERVALS,
        markdown(CALIBRATION, _calibration(outcome)),
        "NLL by part:",
        markdown(("method", *parts), _by_part(outcome, list(parts))),
        SHIFT,
        markdown(SHIFT_COLUMNS, shift_table(outcome)),
        f"![How the epistemic standard deviation follows the shift]({name}_shift.png)",
        "Candidate settings and their validation NLL; the least was chosen:",
        markdown(("method", "candidates"), tried(outcome, prepared)),
    ]
    notes += [f"Failed: {method}: {reason}" for method, reason in outcome.failed.items()]
    return Report(
        name=name,
        title=f"Flight delays: {rows:,} training rows, tests on later days and unseen airports",
        lead=lead(outcome, rows),
        command=command,
        columns=COLUMNS,
        rows=[_line(outcome, method) for method in outcome.methods],
        notes=notes,
    )


def markdown(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    return "\n".join([
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(line) + " |" for line in lines),
    ])


def _line(outcome: Outcome, method: str) -> tuple[str, ...]:
    inside, outside = (outcome.summary(method, part) for part in (INSIDE, OUTSIDE))
    against = [outcome.against(method, part) for part in (INSIDE, OUTSIDE)]
    record = outcome.records[method]
    return (
        method,
        f"{record['validation_nll']:.3f}",
        f"{inside['nll']:.3f}",
        f"{outside['nll']:.3f}",
        *("–" if one is None else worded(one) for one in against),
        *(f"{part[score]:.1f}" for score in ("rmse",) for part in (inside, outside)),
        *(f"{part[score]:.2f}" for score in ("crps",) for part in (inside, outside)),
        f"{record['fit_seconds']:.1f}",
    )


def _calibration(outcome: Outcome) -> list[tuple[str, ...]]:
    lines = []
    for method in outcome.methods:
        for part in (INSIDE, OUTSIDE):
            found = outcome.summary(method, part)
            lines.append((
                method,
                part,
                f"{100 * found['inside50']:.1f}",
                f"{100 * found['inside95']:.1f}",
                f"{found['width50']:.0f}",
                f"{found['width95']:.0f}",
                f"{found['ece']:.3f}",
                f"{100 * found['one_width_inside95']:.1f}",
                f"{found['one_width_width95']:.0f}",
                f"{found['one_width_nll']:.3f}",
            ))
    return lines


def _by_part(outcome: Outcome, parts: Sequence[str]) -> list[tuple[str, ...]]:
    return [
        (method, *(f"{outcome.summary(method, part)['nll']:.3f}" for part in parts))
        for method in outcome.methods
    ]
