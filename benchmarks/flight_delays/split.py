"""Which flights are fitted, which choose settings, and which are predicted: by day and airport.

Days have four roles and airports two, and a flight's part follows from both:

| day | flights to seen airports | flights to unseen airports |
|---|---|---|
| training | train | unseen airports, training days |
| held out, drawn among the training days | in distribution | unseen airports |
| validation, the days that follow | validation | of no part |
| later | later days | later days, unseen airports |

So no part shares a day with the training rows but "unseen airports, training days", which is
reported and is no part of what is called out of distribution: `OUT_OF_DISTRIBUTION`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from benchmarks.flight_delays.table import Flights

Rows = Int[np.ndarray, " rows"]

INSIDE = "in distribution"
UNSEEN = "unseen airports"
LATER = "later days"
LATER_UNSEEN = "later days, unseen airports"
UNSEEN_TRAINING_DAYS = "unseen airports, training days"
OUT_OF_DISTRIBUTION = (UNSEEN, LATER, LATER_UNSEEN)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Roles of days (0–364) and airports; which ones, apart from dates, a seed draws.

    Attributes:
        validation_from: first day of the validation part; those before train or are held out.
        later_from: first of the later days.
        held_out_days: how many days before the validation part are held out.
        unseen_share: largest share of all flights that go to unseen airports.
    """

    validation_from: int
    later_from: int
    held_out_days: int
    unseen_share: float


# Days of January–March train, April chooses settings (a month as unseen as the later ones), and
# May–December are later.
EARLY = Plan(validation_from=90, later_from=120, held_out_days=10, unseen_share=0.10)
# Of 273,853 flights 250,000 train, so nearly all days and airports must: later is from
# 23 December on, and the six days before choose settings.
WHOLE_YEAR = Plan(validation_from=350, later_from=356, held_out_days=8, unseen_share=0.02)
MOST_EARLY_ROWS = 50_000


@dataclass(frozen=True, kw_only=True)
class Split:
    """Rows of each part, ascending.

    Attributes:
        train: to fit.
        validation: to choose settings.
        tests: to predict, by the part's name.
    """

    train: Rows
    validation: Rows
    tests: Mapping[str, Rows]


def plan_for(rows: int) -> Plan:
    """Return the plan that has so many training rows: of early months up to 50,000."""
    return EARLY if rows <= MOST_EARLY_ROWS else WHOLE_YEAR


def split_flights(
    flights: Flights, plan: Plan, *, rows: int, most: int | None = None, seed: int
) -> Split:
    """Draw the parts; no outcome is looked at.

    Args:
        flights: all flights.
        plan: roles of days and airports.
        rows: training rows, drawn among all of that part.
        most: rows of the validation part and of each test part, drawn; None for all.
        seed: of all draws. Held-out days and unseen airports do not depend on `rows`.

    Returns:
        The parts.

    Raises:
        ValueError: more rows than the training part has.
    """
    rng = np.random.default_rng(seed)
    early = np.flatnonzero(np.bincount(flights.day)[: plan.validation_from])
    held_out = np.isin(flights.day, rng.choice(early, plan.held_out_days, replace=False))
    unseen = np.isin(flights.airport, unseen_airports(flights, plan.unseen_share, rng))
    before, later = flights.day < plan.validation_from, flights.day >= plan.later_from

    def drawn(part: np.ndarray, size: int | None) -> Rows:
        found = np.flatnonzero(part)
        if size is None or size >= len(found):
            return found
        return np.sort(rng.choice(found, size, replace=False))

    training = before & ~held_out
    available = int((training & ~unseen).sum())
    if not 1 <= rows <= available:
        raise ValueError(f"rows: expected 1 to {available} training rows, got {rows}.")
    return Split(
        train=drawn(training & ~unseen, rows),
        validation=drawn(~before & ~later & ~unseen, most),
        tests={
            INSIDE: drawn(held_out & ~unseen, most),
            UNSEEN: drawn(held_out & unseen, most),
            LATER: drawn(later & ~unseen, most),
            LATER_UNSEEN: drawn(later & unseen, most),
            UNSEEN_TRAINING_DAYS: drawn(training & unseen, most),
        },
    )


def unseen_airports(flights: Flights, share: float, rng: np.random.Generator) -> list[str]:
    """Return airports, taken in random order while their flights stay within a share of all."""
    names, counts = np.unique(flights.airport, return_counts=True)
    taken, total = [], 0
    for i in rng.permutation(len(names)):
        if total + counts[i] <= share * len(flights.y):
            taken.append(str(names[i]))
            total += counts[i]
    return taken
