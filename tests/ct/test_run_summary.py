"""What is said of a run."""

from __future__ import annotations

import dataclasses

from ct.commands.run_report import report_lines
from ct.run_summary import NoiseSummary, ReconstructSummary, count_findings, summarise_noise


def record(noise: float, *findings: str) -> dict[str, object]:
    found = [{"name": name, "text": f"{name} {noise}", "size": 1.0} for name in findings]
    return {
        "noise_std": noise,
        "noise_std_source": "estimated",
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
        plain, resumed=2, raised_counts=5, missing_rays=7, findings=count_findings(RECORDS)
    )
    assert report_lines(full)[1:] == [
        "slices        3, 2 of an earlier run",
        "method        fbp, cpu",
        "units         HU",
        "seconds       1.5",
        "noise         0.2 a ray, 0.1 to 0.4, estimated",
        "raised counts 5 of zero, to have a logarithm",
        "missing rays  7, with values from their neighbours",
        "noticed       rings 0.2 (in 2 of 3 slices examined)",
        "noticed       truncation 0.4 (in 1 of 3 slices examined)",
    ]
