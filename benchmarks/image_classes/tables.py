"""The report's words and tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from benchmarks.image_classes.corruptions import LEVELS
from benchmarks.image_classes.methods import BASELINE, OURS, SAME_LIKELIHOOD
from benchmarks.image_classes.summary import (
    FAMILY,
    Mean,
    Records,
    Score,
    corruption,
    difference,
    inside,
    mean_of,
    outside,
)
from benchmarks.image_classes.uncertainty import UNCERTAINTIES
from benchmarks.image_classes.work import ALIKE, FASHION, LETTERS
from benchmarks.record_file import Record

EQUAL = 0.3  # points of accuracy
COLUMNS = (
    "method", "splits", "accuracy %", "NLL", "Brier", "ECE", "ECE debiased", "AURC %",
    f"{FASHION} AUROC", "AUPR", "FPR95", f"{LETTERS} AUROC", f"{ALIKE} AUROC",
    "AUROC − deep ensemble's", "setting", "uncertainty", "seconds",
)  # fmt: skip
Row = tuple[str, ...]


def main_rows(records: Records) -> list[Row]:
    """Return a row a method."""
    return [_row(name, records) for name in records]


def lead(records: Records) -> str:
    """Return the first paragraph: what was won and what was lost, on the set that counts."""
    target = _target(records)
    if BASELINE not in records or target is None:
        return "No deep ensembles among the methods: nothing to compare with."
    winners, parts = _compared(records, BASELINE, target)
    if not parts:
        return f"Fewer than two splits: nothing can be said about {target} yet."
    verdict = "is reached by" if winners else "is not reached by any of"
    names = ", ".join(winners) or "ours"
    said = (
        f"OOD AUROC on {target} above deep ensembles' by two standard errors at equal accuracy "
        f"(within {EQUAL} points) {verdict} {names}. {parts}"
    )
    if SAME_LIKELIHOOD in records and (closer := _compared(records, SAME_LIKELIHOOD, target)[1]):
        said += f' Against "{SAME_LIKELIHOOD}" in their place. {closer}'
    return said + _better(records, target)


def _compared(records: Records, baseline: str, target: str) -> tuple[list[str], str]:
    """Return who of ours is clearly above a baseline, and how all of ours fare, in words."""
    losers, winners, even, names = [], [], [], []
    for name in (*OURS, FAMILY):
        if name not in records:
            continue
        auroc = difference(records[name], records[baseline], outside(target))
        accuracy = difference(records[name], records[baseline], inside("accuracy"))
        if auroc is None or accuracy is None:
            continue
        said = (
            f"{name} {auroc.mean:+.4f} ± {auroc.standard_error:.4f} at {100 * accuracy.mean:+.2f} "
            "points of accuracy"
        )
        equal = 100 * accuracy.mean >= -EQUAL
        if auroc.mean > 2 * auroc.standard_error and equal:
            winners.append(said)
            names.append(name)
        elif auroc.mean < 0 or not equal:
            losers.append(said)
        else:
            even.append(said)
    parts = (
        f"{start}: {'; '.join(some)}."
        for start, some in (
            ("Below, or of less accuracy", losers),
            ("Above by two standard errors or less", even),
            ("Above by more than two standard errors at equal accuracy", winners),
        )
        if some
    )
    return names, " ".join(parts)


def uncertainty_table(records: Records) -> str:
    """Return AUROC by every uncertainty; for reading alone, nothing was chosen by it."""
    target = _target(records) or LETTERS
    rows = [
        (
            name,
            *(shown(mean_of(splits, outside(target, uncertainty=u)), 3) for u in UNCERTAINTIES),
        )
        for name, splits in records.items()
    ]
    said = f"AUROC on {target} by each uncertainty (nothing was chosen by these):"
    return said + "\n\n" + table(("method", *UNCERTAINTIES), rows)


def settings_table(records: Records) -> str:
    """Return what validation said of every setting, over the splits; empty where none was kept."""
    rows: list[Row] = []
    for method, splits in records.items():
        tried: dict[str, list[Record]] = {}
        for record in splits.values() if method != FAMILY else ():
            for one in record.get("candidates", ()):
                tried.setdefault(one["setting"], []).append(one)
        for setting, found in tried.items():
            means = [
                [one["auroc"][name] for one in found if name in one["auroc"]]
                for name in UNCERTAINTIES
            ]
            shares = [f"{sum(some) / len(some):.3f}" if some else "–" for some in means]
            nll = sum(one["nll"] for one in found) / len(found)
            rows.append((method, setting, str(len(found)), f"{nll:.3f}", *shares))
    if not rows:
        return ""
    said = "Every setting, on validation images and outliers made of them: NLL, and AUROC by each."
    return said + "\n\n" + table(("method", "setting", "splits", "NLL", *UNCERTAINTIES), rows)


def corruption_table(records: Records) -> str:
    """Return accuracy, NLL and entropy at the greatest strength of each corruption."""
    rows = []
    for name, splits in records.items():
        cells = [
            " / ".join((
                shown(mean_of(splits, corruption(kind, 3, "accuracy")), 1, factor=100, alone=True),
                shown(mean_of(splits, corruption(kind, 3, "nll")), 2, alone=True),
                shown(mean_of(splits, corruption(kind, 3, "entropy")), 2, alone=True),
            ))
            for kind in LEVELS
        ]
        rows.append((name, *cells))
    said = "Test images at the greatest strength: accuracy % / NLL / mean entropy (nats):"
    return said + "\n\n" + table(("method", *LEVELS), rows)


def failures(records: list[Record]) -> str:
    """Return what failed, in words; nothing if nothing did."""
    failed = [f"{r['method']} on split {r['split']}: {r['error']}" for r in records if "error" in r]
    return f"Failed: {'; '.join(failed)}." if failed else ""


def table(columns: Row, rows: list[Row]) -> str:
    """Return a table in Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in (columns, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(columns), *lines[1:]])


def shown(mean: Mean | None, digits: int, *, factor: float = 1.0, alone: bool = False) -> str:
    """Return mean ± standard error; a dash where there is none."""
    if mean is None:
        return "–"
    value = f"{factor * mean.value:.{digits}f}"
    return value if alone or mean.count < 2 else f"{value} ± {factor * mean.error:.{digits}f}"


def _row(name: str, records: Records) -> Row:
    splits = records[name]
    against = _target(records)
    gap = None
    if against is not None and BASELINE in records and name != BASELINE:
        gap = difference(splits, records[BASELINE], outside(against))
    percent = {"accuracy": 100.0, "aurc": 100.0}
    in_set = [
        shown(mean_of(splits, inside(score)), digits, factor=percent.get(score, 1.0))
        for score, digits in (
            ("accuracy", 2), ("nll", 3), ("brier", 4), ("ece", 3), ("ece_debiased", 3), ("aurc", 3),
        )
    ]  # fmt: skip
    out: list[Score] = [outside(FASHION, score) for score in ("auroc", "aupr", "fpr95")]
    out += [outside(LETTERS), outside(ALIKE)]
    return (
        name, str(len(splits)), *in_set, *(shown(mean_of(splits, score), 3) for score in out),
        "–" if gap is None else f"{gap.mean:+.4f} ± {gap.standard_error:.4f}",
        _counted(splits, "setting" if name != FAMILY else "method"),
        _counted(splits, "uncertainty"), f"{sum(r['seconds'] for r in splits.values()):.0f}",
    )  # fmt: skip


def _counted(splits: Mapping[int, Record], key: str) -> str:
    counts = Counter(record[key] for record in splits.values())
    return "; ".join(f"{value} ({count})" for value, count in counts.most_common())


def _target(records: Records) -> str | None:
    """Return the outside set that counts: Fashion-MNIST where it is there, else letters."""
    first = next((one for splits in records.values() for one in splits.values()), None)
    if first is None:
        return None
    return FASHION if FASHION in first["outside"] else LETTERS


def _better(records: Records, target: str) -> str:
    """Name every other method whose AUROC is above that of all of ours."""
    means = {n: mean_of(splits, outside(target)) for n, splits in records.items()}
    ours = [m.value for n in (*OURS, FAMILY) if (m := means.get(n)) is not None]
    others = [
        f"{name} ({mean.value:.3f})"
        for name, mean in means.items()
        if mean is not None and name not in {*OURS, FAMILY} and ours and mean.value > max(ours)
    ]
    return f" Better than the best of ours ({max(ours):.3f}): {', '.join(others)}." * bool(others)
