"""What is said of a run."""

from __future__ import annotations

import dataclasses

from ct.commands.run_report import report_lines
from ct.run_summary import (
    NoiseSummary,
    ReconstructSummary,
    count_findings,
    summarise_calibration,
    summarise_noise,
    warnings_of,
)


def record(noise: float, *findings: str) -> dict[str, object]:
    found = [{"name": name, "text": f"{name} {noise}", "size": 1.0} for name in findings]
    return {
        "noise_std": noise,
        "noise_std_source": "estimated",
        "calibration": "none",
        "diagnostics": {"findings": found} if findings else {},
    }


RECORDS = [record(0.2, "rings"), record(0.1), record(0.4, "truncation", "rings")]


def test_noise_of_many_slices_is_three_numbers() -> None:
    found = summarise_noise(RECORDS)
    assert found == NoiseSummary(smallest=0.1, median=0.2, largest=0.4, source="estimated")


def test_findings_are_counted_and_the_commonest_comes_first() -> None:
    assert count_findings(RECORDS) == {"rings 0.2": 2, "truncation 0.4": 1}


def test_the_report_says_only_what_there_is_to_say() -> None:
    plain = ReconstructSummary(
        output="rec.h5",
        method="fbp",
        device="cpu",
        slices=(0, 1, 2),
        resumed=0,
        seconds=1.5,
        units="HU",
        noise=summarise_noise(RECORDS),
        raised_counts=0,
        missing_rays=0,
        examined=3,
        findings={},
    )
    assert report_lines(plain) == [
        "wrote rec.h5",
        "slices        3",
        "method        fbp, cpu",
        "units         HU",
        "seconds       1.5, 2 slices/s",
        "noise         0.2 a ray, 0.1 to 0.4, estimated",
    ]
    full = dataclasses.replace(
        plain,
        resumed=2,
        raised_counts=5,
        missing_rays=7,
        findings={**count_findings(RECORDS), "the noise is wrong": 1},
        calibration="one scale: spread times 2",
        warnings=("the noise is wrong",),
    )
    assert report_lines(full)[1:] == [
        "slices        3, 2 of an earlier run",
        "method        fbp, cpu",
        "units         HU",
        "seconds       1.5",
        "noise         0.2 a ray, 0.1 to 0.4, estimated",
        "calibration   one scale: spread times 2",
        "raised counts 5 of zero, to have a logarithm",
        "missing rays  7, with values from their neighbours",
        "noticed       rings 0.2 (in 2 of 3 slices examined)",
        "noticed       truncation 0.4 (in 1 of 3 slices examined)",
    ]


def test_the_calibration_of_many_slices_is_one_line() -> None:
    records = [
        {"calibration": "one scale", "diagnostics": {"std_scale": scale}} for scale in (1.5, 1, 2)
    ]
    assert summarise_calibration(records) == "one scale: spread times 1 to 2"
    assert summarise_calibration(records[:1]) == "one scale: spread times 1.5"
    assert summarise_calibration([{"calibration": "none", "diagnostics": {}}]) == "none"
    held = [
        {"calibration": "folds", "diagnostics": {}, "held_out_coverage": {"0.95": share}}
        for share in (0.941, 0.96)
    ]
    said = "folds; 95 % intervals hold 94.1 to 96.0 % of rays held out"
    assert summarise_calibration(held) == said
    held[0]["held_out_coverage"] = None
    assert summarise_calibration(held).endswith("hold 96.0 % of rays held out")


def test_what_must_be_known_is_said_once_for_the_noise_and_for_every_lost_member() -> None:
    noisy = [{**record(0.1, "noise"), "slice": 3}, {**record(0.2, "noise", "rings"), "slice": 4}]
    assert warnings_of(noisy) == ("noise 0.1",)
    noisy[1]["diagnostics"]["excluded_members"] = "2, 5"
    assert warnings_of(noisy) == (
        "noise 0.1",
        "slice 4: members 2, 5 diverged and are left out",
    )
    assert warnings_of([{**record(0.1), "slice": 0}]) == ()
    spared = {**record(0.1), "calibration": "none: 3 views are too few"}
    assert warnings_of([spared, spared]) == (
        "calibration of the error bars: none: 3 views are too few",
    )
