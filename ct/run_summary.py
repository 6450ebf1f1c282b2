"""What a run did and found, in numbers and words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from ct.result_metadata import Metadata


@dataclass(frozen=True, kw_only=True)
class NoiseSummary:
    """The noise of a ray over the slices, in the sinogram's units.

    Attributes:
        smallest: the quietest slice's mean.
        median: the median slice's.
        largest: the noisiest slice's.
        source: "given", "measured" (from counts) or "estimated".
    """

    smallest: float
    median: float
    largest: float
    source: str


@dataclass(frozen=True, kw_only=True)
class ReconstructSummary:
    """What a run did.

    Attributes:
        output: the result file.
        method: the method's name.
        device: where it ran.
        slices: the slices' numbers in the sinogram file.
        resumed: how many of them an earlier run had finished.
        seconds: how long this run took.
        units: the image's units.
        noise: how noisy the rays are.
        raised_counts: how many counts of zero were raised to have a logarithm.
        missing_rays: how many rays were not measured and got a value from their neighbours.
        examined: in how many slices such contradictions were looked for.
        findings: what contradicts the scan's description, and in how many of these slices.
        calibration: how the spread was corrected, in words; "" for methods without one.
        warnings: what a user must know before the result is used.
        unchanged: whether the result was whole before, and stayed as it was.
    """

    output: str
    method: str
    device: str
    slices: tuple[int, ...]
    resumed: int
    seconds: float
    units: str
    noise: NoiseSummary
    raised_counts: int
    missing_rays: int
    examined: int
    findings: dict[str, int]
    calibration: str = ""
    warnings: tuple[str, ...] = ()
    unchanged: bool = False


def summarise_noise(records: Sequence[Metadata]) -> NoiseSummary:
    """Return the noise of all slices in three numbers.

    Args:
        records: what is to be said of each slice.
    """
    levels = [one["noise_std"] for one in records]
    return NoiseSummary(
        smallest=min(levels),
        median=median(levels),
        largest=max(levels),
        source=records[0]["noise_std_source"],
    )


def count_findings(records: Sequence[Metadata]) -> dict[str, int]:
    """Return each finding's first wording and the number of slices that have one of its name.

    Args:
        records: what is to be said of each slice; its diagnostics may hold `findings`, a list of
            objects with `name` and `text`.
    """
    counts: Counter[str] = Counter()
    texts: dict[str, str] = {}
    for one in records:
        for finding in one["diagnostics"].get("findings", ()):
            counts[finding["name"]] += 1
            texts.setdefault(finding["name"], finding["text"])
    return {texts[name]: count for name, count in counts.most_common()}


def summarise_calibration(records: Sequence[Metadata]) -> str:
    """Return how the spread was corrected, with the range of the factors over the slices.

    Args:
        records: what is to be said of each slice; it may hold "held_out_coverage", by level, and
            its diagnostics "std_scale".
    """
    commonest, _ = Counter(one["calibration"] for one in records).most_common(1)[0]
    text = str(commonest)
    scales = [
        one["diagnostics"]["std_scale"] for one in records if "std_scale" in one["diagnostics"]
    ]
    if scales:
        text += f": spread times {_range(scales, '.3g')}"
    held = [100 * one["held_out_coverage"]["0.95"] for one in records if _has_coverage(one)]
    return f"{text}; 95 % intervals hold {_range(held, '.1f')} % of rays held out" if held else text


def _has_coverage(record: Metadata) -> bool:
    return "0.95" in (record.get("held_out_coverage") or {})


def _range(numbers: Sequence[float], form: str) -> str:
    least, most = (format(number, form) for number in (min(numbers), max(numbers)))
    return least if least == most else f"{least} to {most}"


def warnings_of(records: Sequence[Metadata]) -> tuple[str, ...]:
    """Return what a user must know before the result is used.

    Args:
        records: what is to be said of each slice; its diagnostics may hold `findings` and
            "excluded_members", the numbers of members or chains that diverged. A calibration of
            "none: …" says why there is none.
    """
    noise = [
        finding["text"]
        for one in records
        for finding in one["diagnostics"].get("findings", ())
        if finding["name"] == "noise"
    ]
    lost = [
        f"slice {one['slice']}: members {one['diagnostics']['excluded_members']} diverged and are "
        "left out"
        for one in records
        if one["diagnostics"].get("excluded_members")
    ]
    plain = [one["calibration"] for one in records if one["calibration"].startswith("none: ")]
    return (*noise[:1], *(f"calibration of the error bars: {text}" for text in plain[:1]), *lost)
