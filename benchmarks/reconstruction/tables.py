"""Tables of what the records hold: means over slices with their standard errors, and the worst."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence

from benchmarks.reconstruction.records import Record

LEVELS = ("50", "90", "95")
REGIONS = {"all": "All pixels", "body": "Inside the body", "edges": "Within 3 pixels of an edge"}
NONE = "–"
PEER = "tv-best-weight"

SUMMARY = (
    "images",
    "views",
    "method",
    "slices",
    "PSNR (dB)",
    "− TV's best weight, same slices",
    "SSIM",
    "NLL",
    "NLL, constant width",
    "CRPS × 1000",
    "ECE",
    "covered by 50 / 90 / 95 % (%)",
    "seconds a slice",
    "memory (GiB)",
)
DETAIL = (
    "images",
    "views",
    "method",
    "PSNR (dB)",
    "SSIM",
    "NLL",
    "NLL, constant width",
    "NLL, the truth's constant width",
    "CRPS × 1000",
    "ECE",
    "ECE of sample quantiles (samples; floor)",
    "covered by 50 / 90 / 95 % (%)",
    "by constant widths (%)",
    "mean widths × 1000",
    "constant widths × 1000",
)
WORST = (
    "images",
    "views",
    "method",
    "over",
    "lowest PSNR (dB)",
    "highest NLL",
    "highest ECE",
    "50 % intervals cover (%)",
    "95 % intervals cover (%)",
)

CALIBRATION = ("images", "views", "method", "samples", "calibration", "scale of the spread")


def summary_rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """One row a method and scan: over all pixels, means ± standard errors over slices."""
    rows = []
    for group in grouped(records):
        first, good = group[0], [one for one in group if "error" not in one]
        start = _start(first)
        failed = [f"slice {one['slice']}: {one['error']}" for one in group if "error" in one]
        if good:
            cells = _image_cells(good, "all")
            rows.append((
                *start,
                str(len(good)),
                cells[0],
                _gain(good, records),
                *cells[1:4],
                *cells[5:7],
                cells[8],
                _median(good, "seconds", "{:.2f}"),
                _median(good, "memory", "{:.2f}", 2**-30),
            ))
        rows.extend((*start, "0", said, *[NONE] * (len(SUMMARY) - 5)) for said in failed)
    return rows


def region_table(records: Sequence[Record], region: str) -> str:
    """Return the table of one region, in Markdown, with its heading."""
    rows = [
        (*_start(group[0]), *_image_cells(good, region))
        for group in grouped(records)
        if (good := [one for one in group if region in one.get("regions", {})])
    ]
    shares = [
        one["regions"][region]["share"] for one in records if region in one.get("regions", {})
    ]
    part = f" ({100 * min(shares):.0f}–{100 * max(shares):.0f} % of a slice)" if shares else ""
    return f"## {REGIONS[region]}{part}\n\n" + markdown(DETAIL, rows)


def worst_table(records: Sequence[Record]) -> str:
    """Return each figure's worst slice; figures of one row may be of different slices."""
    rows = []
    for group in grouped(records):
        for region in REGIONS:
            found = [one["regions"][region] for one in group if region in one.get("regions", {})]
            if not found:
                continue
            rows.append((
                *_start(group[0]),
                REGIONS[region].lower(),
                _worst(found, "psnr", "{:.2f}", min),
                _worst(found, "nll", "{:.2f}", max),
                _worst(found, "ece", "{:.3f}", max),
                _worst(found, "cover50", "{:.1f}", _furthest(0.5), 100),
                _worst(found, "cover95", "{:.1f}", _furthest(0.95), 100),
            ))
    return "## The worst slice of each figure\n\n" + markdown(WORST, rows)


def calibration_table(records: Sequence[Record]) -> str:
    """Return how each variant's error bars were made, in Markdown, with its heading."""
    rows = []
    for group in grouped(records):
        good = [one for one in group if one.get("n_samples") is not None]
        scales = [s for one in good if (s := one["diagnostics"].get("std_scale")) is not None]
        if good:
            rows.append((
                *_start(good[0]),
                str(good[0]["n_samples"]),
                "; ".join(sorted({one["calibration"] for one in good})),
                f"{min(scales):.2f}–{max(scales):.2f}" if scales else NONE,
            ))
    return "## How the error bars were made\n\n" + markdown(CALIBRATION, rows)


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def grouped(records: Sequence[Record]) -> list[list[Record]]:
    """Return the records of each method and scan, in the order in which these came first."""
    groups: dict[tuple[str, int, str], list[Record]] = {}
    order: dict[tuple[str, int], int] = {}
    for record in records:
        order.setdefault((record["set"], record["views"]), len(order))
        key = (record["set"], record["views"], record["method"])
        groups.setdefault(key, []).append(record)
    return sorted(groups.values(), key=lambda one: order[one[0]["set"], one[0]["views"]])


def _start(record: Record) -> tuple[str, str, str]:
    name, made = record["method"], record.get("is", record["method"])
    label = f"{name} ({made})" if name == "default" and made != name else name
    return record["set"], str(record["views"]), label


def _image_cells(good: Sequence[Record], region: str) -> tuple[str, ...]:
    found = [one["regions"][region] for one in good]

    def mean(key: str, form: str, factor: float = 1.0) -> str:
        values = [factor * one[key] for one in found if key in one]
        return with_error(values, form)

    def levels(start: str, form: str, factor: float) -> str:
        cells = [[factor * one[start + level] for one in found if start + level in one]
                 for level in LEVELS]  # fmt: skip
        if not cells[0]:
            return NONE
        return " / ".join(form.format(statistics.fmean(values)) for values in cells)

    return (
        mean("psnr", "{:.2f}"),
        mean("ssim", "{:.3f}"),
        mean("nll", "{:.2f}"),
        mean("const_nll", "{:.2f}"),
        mean("best_const_nll", "{:.2f}"),
        mean("crps", "{:.2f}", 1000),
        mean("ece", "{:.3f}"),
        _sample_error(good, found, mean),
        levels("cover", "{:.1f}", 100),
        levels("const_cover", "{:.1f}", 100),
        levels("width", "{:.1f}", 1000),
        levels("const_width", "{:.1f}", 1000),
    )


def _sample_error(
    good: Sequence[Record], found: Sequence[Record], mean: Callable[[str, str], str]
) -> str:
    if not any("sample_ece" in one for one in found):
        return NONE
    floor = statistics.fmean(one["ece_floor"] for one in found if "ece_floor" in one)
    return f"{mean('sample_ece', '{:.3f}')} ({good[0]['n_samples']}; {floor:.3f})"


def with_error(values: Sequence[float], form: str) -> str:
    """Return the mean, and from two slices on its standard error.

    Example:
        >>> with_error([1.0, 3.0], "{:.1f}"), with_error([2.0], "{:.1f}"), with_error([], "{}")
        ('2.0 ± 1.0', '2.0', '–')
    """
    if not values:
        return NONE
    text = form.format(statistics.fmean(values))
    if len(values) == 1 or not all(map(math.isfinite, values)):
        return text
    return f"{text} ± {form.format(statistics.stdev(values) / math.sqrt(len(values)))}"


def _gain(good: Sequence[Record], records: Sequence[Record]) -> str:
    """PSNR less that of the peer on the same slices: the difference's standard error is smaller."""
    peer = {
        one["slice"]: one["regions"]["all"]["psnr"]
        for one in records
        if one["method"] == PEER
        and "error" not in one
        and (one["set"], one["views"]) == (good[0]["set"], good[0]["views"])
    }
    gains = [
        one["regions"]["all"]["psnr"] - peer[one["slice"]] for one in good if one["slice"] in peer
    ]
    return with_error(gains, "{:+.2f}").replace("± +", "± ")


def _median(good: Sequence[Record], key: str, form: str, factor: float = 1.0) -> str:
    return form.format(factor * statistics.median(one[key] for one in good))


def _worst(
    found: Sequence[Record],
    key: str,
    form: str,
    choose: Callable[[list[float]], float],
    factor: float = 1.0,
) -> str:
    values = [one[key] for one in found if key in one]
    return form.format(factor * choose(values)) if values else NONE


def _furthest(level: float) -> Callable[[list[float]], float]:
    return lambda values: max(values, key=lambda value: abs(value - level))
