"""The first paragraph of the UCI report: what came out, losses first among equals."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.comparison.paired import Difference
from benchmarks.regression.listed import FAMILY
from benchmarks.regression.uci_data import PUBLISHED_SPLITS as MOST
from benchmarks.regression.uci_summary import BEST, SetSummary

PUBLISHED = {"concrete": 2.937, "energy": 1.212, "wine-red": 0.928, "yacht": 1.250}
"""MC dropout's NLL (github.com/yaringal/DropoutUncertaintyExps, its tuned long runs)."""
RIVALS = ("deep ensemble", "laplace-torch", "MC dropout")


def lead(sets: Sequence[SetSummary]) -> str:
    """Return it, or say that there is nothing to compare."""
    compared = [one for one in sets if BEST in one.by_method]
    if not compared:
        return "No set has results of all NTKGP ensembles, so nothing is compared."
    parts = [_losses(compared), *(said for one in compared if (said := _owed_to_copies(one)))]
    published = [one for one in compared if one.name in PUBLISHED]
    if published:
        below = [one for one in published if one.mean(BEST, "nll") < PUBLISHED[one.name]]
        each = "; ".join(
            f"{one.name} {one.mean(BEST, 'nll'):.3f} ± {one.standard_error(BEST, 'nll'):.3f} "
            f"against {PUBLISHED[one.name]:.3f}"
            for one in published
        )
        parts.append(
            f"The best NTKGP ensemble's mean NLL is below MC dropout's published one on "
            f"{len(below)} of {len(published)} sets ({each})."
        )
    for rival in RIVALS:
        found = [(one.name, one.against_best(rival)) for one in compared]
        differences = [(name, one) for name, one in found if one is not None]
        if differences:
            below_rival = sum(one.mean > 0 for _, one in differences)
            said = "; ".join(
                f"{name} {-one.mean:+.3f}, {-one.standard_errors:+.1f} standard errors"
                for name, one in differences
            )
            parts.append(
                f"Against the same run's {rival} it is lower on {below_rival} of "
                f"{len(differences)} ({said})."
            )
    few = [f"{one.name} {n}" for one in compared if (n := len(one.by_method[BEST])) < MOST]
    if few:
        parts.append(
            f"Only some of the {MOST} standard splits were run ({', '.join(few)}), where published "
            "figures are of all: too few to conclude from."
        )
    return " ".join(parts)


def _losses(sets: Sequence[SetSummary]) -> str:
    """Say where any method outside the family has the smaller mean NLL."""
    said = []
    for one in sets:
        ahead = [
            (method, difference)
            for method in one.methods()
            if method not in FAMILY
            and (difference := one.against_best(method)) is not None
            and difference.mean < 0
        ]
        if ahead:
            each = ", ".join(_by(one, method, difference) for method, difference in ahead)
            said.append(f"{one.name}: {each}")
    if not said:
        return "No method has a smaller mean NLL than the best NTKGP ensemble on any set."
    return (
        "The best NTKGP ensemble (chosen by validation on each split's training rows) loses in "
        "mean NLL, by nats (and standard errors of the paired difference), on "
        + "; on ".join(said)
        + "."
    )


def _owed_to_copies(one: SetSummary) -> str:
    """Say which methods are behind on all test rows, and ahead without copies of training rows."""
    overtaking = [
        (method, alone)
        for method in sorted(one.by_method, key=lambda name: one.mean(name, "nll alone"))
        if method not in FAMILY
        and (whole := one.against_best(method)) is not None
        and (alone := one.against_best(method, "nll alone")) is not None
        and alone.mean < 0 <= whole.mean
    ]
    if not overtaking:
        return ""
    each = ", ".join(_by(one, method, alone) for method, alone in overtaking)
    return (
        f"On {one.name} the lead over some is owed to test rows that are copies of training rows, "
        f"{one.mean(BEST, 'copied'):.0f} a split: without them the best NTKGP ensemble's NLL is "
        f"{one.mean(BEST, 'nll alone'):.3f}, and it is behind {each}."
    )


def _by(one: SetSummary, method: str, difference: Difference) -> str:
    """Say by how much a method is ahead, and on how many splits where it has not all."""
    n = difference.degrees_of_freedom + 1
    few = f", {n} splits" if n < len(one.by_method[BEST]) else ""
    return f"{method} by {-difference.mean:.3f} ({-difference.standard_errors:.1f}{few})"
