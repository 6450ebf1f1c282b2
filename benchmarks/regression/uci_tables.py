"""The tables of the UCI report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from benchmarks.regression.listed import EXACT, NAMES, WITH_PRIOR
from benchmarks.regression.scores import LEVELS, TERCILES
from benchmarks.regression.uci_lead import PUBLISHED
from benchmarks.regression.uci_summary import BEST, SetSummary

COLUMNS = (
    "set", "method", "splits", "NLL", "± s.e.", "minus best NTKGP", "in s.e.", "RMSE", "CRPS",
    "ECE", *(f"{level} % hold (even width), width" for level in LEVELS), "s a cell",
)  # fmt: skip


def rows(sets: Sequence[SetSummary]) -> list[tuple[str, ...]]:
    """Return all methods of each set, the smallest NLL first; published numbers among them."""
    return [row for one in sets for row in _rows_of_set(one)]


def _rows_of_set(one: SetSummary) -> list[tuple[str, ...]]:
    found = [(one.mean(method, "nll"), _row(one, method)) for method in one.methods()]
    if one.name in PUBLISHED:
        nll = PUBLISHED[one.name]
        blank = ("–",) * (len(COLUMNS) - 4)
        found.append((nll, (one.name, "MC dropout, published", "20", f"{nll:.3f}", *blank)))
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]


def _row(one: SetSummary, method: str) -> tuple[str, ...]:
    difference = one.against_best(method)
    name = f"**{method}**" if method == BEST else method
    return (
        one.name,
        name,
        str(len(one.by_method[method])),
        f"{one.mean(method, 'nll'):.3f}",
        f"{one.standard_error(method, 'nll'):.3f}",
        "–" if difference is None else f"{difference.mean:+.3f}",
        "–" if difference is None else f"{difference.standard_errors:+.1f}",
        f"{one.mean(method, 'rmse'):.3f}",
        f"{one.mean(method, 'crps'):.3f}",
        f"{one.mean(method, 'ece'):.3f}",
        *(
            f"{100 * one.mean(method, f'coverage {level}'):.0f} "
            f"({100 * one.mean(method, f'even coverage {level}'):.0f}) %, "
            f"{one.mean(method, f'width {level}'):.2f}"
            for level in LEVELS
        ),
        f"{one.mean(method, 'seconds'):.1f}",
    )


def region_table(sets: Sequence[SetSummary]) -> str:
    """Return NLL and 95 % coverage by tercile of the distance to the training rows."""
    columns = ("set", "method", *(f"{part}: NLL, 95 % hold" for part in TERCILES))
    lines = [
        (
            one.name,
            method,
            *(
                f"{one.mean(method, f'nll {part}'):.3f}, "
                f"{100 * one.mean(method, f'coverage {part}'):.0f} %"
                for part in TERCILES
            ),
        )
        for one in sets
        for method in one.methods()
    ]
    return _markdown(columns, lines)


def copies_table(sets: Sequence[SetSummary]) -> str:
    """Return NLL of the test rows that stand nowhere in the training rows; "" without copies."""
    some = [one for one in sets if one.mean(one.methods()[0], "copied") > 0]
    if not some:
        return ""
    lines = [
        (
            one.name,
            method,
            f"{one.mean(method, 'copied'):.1f}",
            f"{one.mean(method, 'nll'):.3f}",
            f"{one.mean(method, 'nll alone'):.3f}",
        )
        for one in some
        for method in sorted(one.by_method, key=lambda name: one.mean(name, "nll alone"))
    ]
    return _markdown(("set", "method", "copies a split", "NLL", "NLL without copies"), lines)


def diagnosis_table(sets: Sequence[SetSummary]) -> str:
    """Return what is known of the fits of our ensembles and of the prior that they share."""
    columns = (
        "set", "method", "converged", "moved", "mean off exact, sd", "spread to exact",
        "chosen for best",
    )  # fmt: skip
    lines = []
    for one in sets:
        chosen = Counter(record["method"] for record in one.by_method.get(BEST, {}).values())
        for method in WITH_PRIOR:
            if method in one.by_method:
                share = one.mean(method, "converged")
                lines.append((
                    one.name,
                    method,
                    "–" if math.isnan(share) else f"{100 * share:.0f} %",
                    _or_dash(one.mean(method, "moved")),
                    _or_dash(one.mean(method, "mean off exact")),
                    _or_dash(one.mean(method, "spread to exact")),
                    str(chosen.get(method, "–")),
                ))
    return _markdown(columns, lines)


def prior_table(sets: Sequence[SetSummary]) -> str:
    """Return the evidence of a row before and after, the prior-predictive check, and the noise."""
    columns = (
        "set", "evidence at the start", "chosen", "converged", "targets in prior's 95 %", *NOISES
    )  # fmt: skip
    lines = [
        (
            one.name,
            f"{one.mean(EXACT.name, 'first evidence'):.3f}",
            f"{one.mean(EXACT.name, 'evidence'):.3f}",
            f"{100 * one.mean(EXACT.name, 'prior converged'):.0f} %",
            f"{100 * one.mean(EXACT.name, PRIOR_CHECK):.0f} %",
            *(f"{one.mean(EXACT.name, noise):.3f}" for noise in NOISES),
        )
        for one in sets
        if EXACT.name in one.by_method
    ]
    return _markdown(columns, lines)


PRIOR_CHECK = "targets in prior's 95 %"
NOISES = ("noise by likelihood", "training noise", "predictive noise")  # facts of the exact process


def choices_table(sets: Sequence[SetSummary]) -> str:
    """Return how often each setting was chosen."""
    lines = []
    for one in sets:
        for method in (name for name in NAMES if name in one.by_method):
            counts = Counter(
                f"{record['settings']} ({record['density']})"
                for record in one.by_method[method].values()
            )
            said = "; ".join(f"{n} × {what}" for what, n in counts.most_common())
            lines.append((one.name, method, said))
    return _markdown(("set", "method", "splits × settings (density)"), lines)


def failures(sets: Sequence[SetSummary]) -> list[str]:
    """Return a sentence for every method that failed somewhere."""
    found = []
    for one in sets:
        counts = Counter((method, why) for (method, _), why in one.failed.items())
        found += [
            f"{one.name}: {method} failed on {n} splits: {why}"
            for (method, why), n in counts.items()
        ]
    return found


def _or_dash(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def _markdown(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    table = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join([*table, *("| " + " | ".join(line) + " |" for line in lines)])
