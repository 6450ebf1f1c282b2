"""What held-out views do for error bars: the table, the first paragraph and the picture."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bayesnn.calibration.plots.canvas import blank_figure, unit_square
from benchmarks.comparison.cells import Record
from benchmarks.reconstruction.calibrations import AS_FITTED, BY_VIEWS
from benchmarks.reconstruction.tables import REGIONS, markdown, with_error
from benchmarks.report import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = (
    "images",
    "method",
    "error bars",
    "slices",
    "PSNR (dB)",
    "50 % intervals hold (%)",
    "95 % intervals hold (%)",
    "95 % width × 1000",
    "a constant width holds (%)",
    "its width × 1000",
    "ECE",
    "NLL",
    "NLL, constant width",
    "seconds a slice",
)
NOTES = """\
Means over slices ± standard errors; slices of one set are few, and AAPM's are of one patient.
Values are divided by the truth's greatest. "As fitted" error bars are those of the fit on all
views; "held-out views" ones were scaled, and their intervals widened, by a tenth of the views that
a first fit left out; "folds of views" is `ct.jackknife`, which has no other way. Nothing saw the
truth. A constant width has the same mean variance in every pixel: error bars that do not beat its
NLL tell nothing of where errors are. ECE is Σ 0.05 |covered − claimed| over 20 levels, δ = 0."""

ALIKE = 1e-3  # of calibration errors


def report(
    records: Sequence[Record],
    *,
    name: str,
    command: str,
    side: int,
    views: int,
    absent: Sequence[str],
    note: str = "",
) -> Report:
    """Return the report of all cells.

    Args:
        records: of the cells.
        name: of the report's files.
        command: that makes it.
        side: pixels along a side.
        views: number of angles.
        absent: sets that are not here.
        note: what else must be known.
    """
    left_out = [f"Not here, so left out: {', '.join(absent)}."] if absent else []
    regions = [
        f"## {title}\n\n" + markdown(COLUMNS, rows(records, region))
        for region, title in REGIONS.items()
        if region != "all"
    ]
    return Report(
        name=name,
        title=f"Error bars of CT images with and without held-out views: {side}², {views} views",
        command=command,
        lead=outcome(records),
        columns=COLUMNS,
        rows=rows(records, "all"),
        notes=[NOTES, *left_out, *filter(None, [note]), f"![Reliability]({name}.png)", *regions],
    )


def rows(records: Sequence[Record], region: str) -> list[tuple[str, ...]]:
    """Return one row a set, method and way: means over slices in a region."""
    made = []
    for (images, method), group in groups(records).items():
        variant, _, way = method.partition(" | ")
        found = [one["regions"][region] for one in group if region in one.get("regions", {})]
        failed = [one["error"] for one in group if "error" in one]
        if found:

            def mean(
                key: str, form: str, factor: float = 1.0, found: list[dict[str, float]] = found
            ) -> str:
                return with_error([factor * one[key] for one in found], form)

            made.append((
                images, variant, way, str(len(found)), mean("psnr", "{:.2f}"),
                mean("cover50", "{:.1f}", 100), mean("cover95", "{:.1f}", 100),
                mean("width95", "{:.0f}", 1000), mean("const_cover95", "{:.1f}", 100),
                mean("const_width95", "{:.0f}", 1000), mean("ece", "{:.3f}"),
                mean("nll", "{:.2f}"), mean("const_nll", "{:.2f}"),
                f"{statistics.median(one['seconds'] for one in group if 'seconds' in one):.0f}",
            ))  # fmt: skip
        made.extend((images, variant, way, "0", *[error] * 1, *["–"] * 9) for error in failed)
    return made


def outcome(records: Sequence[Record]) -> str:
    """Return in words which error bars can be believed, and where held-out views do harm."""
    means = {
        (images.partition(",")[0], method): {
            key: statistics.fmean(one["regions"]["all"][key] for one in group)
            for key in ("cover95", "ece", "nll", "const_nll")
        }
        for (images, method), group in groups(records).items()
        if all("regions" in one for one in group)
    }
    pairs = {
        (images, method.partition(" | ")[0]): (means[images, method], means[images, after])
        for images, method in means
        if method.endswith(AS_FITTED)
        and (images, after := method.replace(AS_FITTED, BY_VIEWS)) in means
    }
    change = {place: held["ece"] - fit["ece"] for place, (fit, held) in pairs.items()}
    better = [place for place, by in change.items() if by < -ALIKE]
    worse = [f"{method} on {images}" for (images, method), by in change.items() if by > ALIKE]
    alike = [f"{method} on {images}" for (images, method), by in change.items() if abs(by) <= ALIKE]
    parts = [
        f"Held-out views lower the calibration error in {len(better)} of {len(pairs)} cases"
        + (f"; they raise it for {', '.join(worse)}" if worse else "")
        + (f"; they leave it as it is for {', '.join(alike)}." if alike else ".")
    ]
    off = [
        f"{method.replace(' | ', ' with ')} on {images} ({100 * one['cover95']:.0f} %)"
        for (images, method), one in means.items()
        if not 0.9 <= one["cover95"] <= 0.99 and not method.endswith(AS_FITTED)
    ]
    parts.append(
        f"Still badly calibrated, their 95 % intervals holding less than 90 or more than 99 %: "
        f"{', '.join(off)}."
        if off
        else "With them every variant's 95 % intervals hold between 90 and 99 %."
    )
    flat = [
        f"{method.replace(' | ', ' with ')} on {images}"
        for (images, method), one in means.items()
        if one["nll"] >= one["const_nll"] and not method.endswith(AS_FITTED)
    ]
    parts.append(
        f"No better than one width for all pixels: {', '.join(flat)}."
        if flat
        else "All of these beat one width for all pixels."
    )
    return " ".join(parts)


def figure(records: Sequence[Record], levels: Sequence[float]) -> Figure | None:
    """Draw reliability curves over all pixels: as fitted, and corrected; None without any."""
    good = [one for one in records if "curves" in one]
    if not good:
        return None
    names = list(dict.fromkeys(one["method"].partition(" | ")[0] for one in good))
    drawn = blank_figure(width=10.0, height=5.2)
    axes = drawn.subplots(1, 2)
    for panel, corrected in zip(axes, (False, True), strict=True):
        unit_square(panel, xlabel="claimed", ylabel="held", below="too narrow")
        panel.set_title("corrected by held-out views" if corrected else "as fitted")
        for index, name in enumerate(names):
            curves = [
                one["curves"]["all"]
                for one in good
                if one["method"].partition(" | ")[0] == name
                and one["method"].endswith(AS_FITTED) != corrected
            ]
            if curves:
                held = [statistics.fmean(values) for values in zip(*curves, strict=True)]
                label = f"{name} ({len(curves)} slices)"
                panel.plot(levels, held, marker=".", color=f"C{index % 10}", label=label)
        panel.legend(fontsize=8, loc="upper left")
    return drawn


def groups(records: Sequence[Record]) -> dict[tuple[str, str], list[Record]]:
    """Return the records of each set and method, in their order."""
    found: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        found.setdefault((record["data"], record["method"]), []).append(record)
    return dict(sorted(found.items(), key=lambda one: one[0][0]))
