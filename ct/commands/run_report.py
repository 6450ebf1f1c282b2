"""What `reconstruct` says when it is done."""

from __future__ import annotations

from ct.run_summary import ReconstructSummary


def report_lines(summary: ReconstructSummary) -> list[str]:
    """Return the lines: what was written, how long it took, how noisy it is, and what looks odd.

    Args:
        summary: what the run did.
    """
    if summary.unchanged:
        same = "of the same input, settings and versions"
        return [f"nothing is left to do: {summary.output} is whole, {same}"]
    n_slices = len(summary.slices)
    made = n_slices - summary.resumed
    speed = f"{made / summary.seconds:.3g} slices/s" if made > 1 else ""
    resumed = f"{summary.resumed} of an earlier run" if summary.resumed else ""
    facts = {
        "slices": _joined(f"{n_slices}", resumed),
        "method": _joined(summary.method, summary.device),
        "units": summary.units or "not known",
        "seconds": _joined(f"{summary.seconds:.1f}", speed),
        "noise": _noise(summary),
    }
    if summary.calibration:
        facts["calibration"] = summary.calibration
    if summary.raised_counts:
        facts["raised counts"] = f"{summary.raised_counts} of zero, to have a logarithm"
    if summary.missing_rays:
        facts["missing rays"] = f"{summary.missing_rays}, with values from their neighbours"
    lines = [f"wrote {summary.output}", *(f"{key:<13} {text}" for key, text in facts.items())]
    for text, count in summary.findings.items():
        if text in summary.warnings:
            continue  # they are said on stderr
        where = "" if n_slices == 1 else f" (in {count} of {summary.examined} slices examined)"
        lines.append(f"{'noticed':<13} {text}{where}")
    return lines


def _noise(summary: ReconstructSummary) -> str:
    noise = summary.noise
    spread = (
        "" if noise.smallest == noise.largest else f"{noise.smallest:.3g} to {noise.largest:.3g}"
    )
    return _joined(f"{noise.median:.3g} a ray", spread, noise.source)


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
