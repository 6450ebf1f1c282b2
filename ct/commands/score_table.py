"""Scores as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from ct.evaluation import Evaluation
from ct.slice_scores import SliceScores
from ct.uncertainty_scores import UncertaintyScores

_MOST_ROWS = 16
"""More slices than these are summarised."""
_TOLERANCE = 0.05
"""A coverage this far from its level is called badly calibrated."""
_SHOWN_LEVELS = (0.5, 0.95)
_REGIONS = {None: "whole image", "body": "inside the body", "edges": "within 3 pixels of an edge"}


def score_tables(
    evaluation: Evaluation,
    *,
    name: str = "reconstruction",
    others: dict[str, Evaluation] | None = None,
) -> list[Table]:
    """Return the accuracy and, where there are error bars, how far they can be trusted.

    Args:
        evaluation: the scores.
        name: what was scored.
        others: what stands beside it, by name.

    Returns:
        One table, or three.
    """
    tables = [_accuracy({name: evaluation, **(others or {})})]
    if evaluation.mean.uncertainty is not None:
        tables.append(_uncertainty(evaluation.mean.uncertainty, evaluation.units))
        tables.append(_by_region(evaluation))
    return tables


def _accuracy(evaluations: dict[str, Evaluation]) -> Table:
    table = Table(title="accuracy of the image", title_justify="left")
    table.add_column("")
    for heading in ("PSNR (dB)", "SSIM"):
        table.add_column(heading, justify="right")
    for name, evaluation in evaluations.items():
        if len(evaluation.slices) > 1:
            for what, scores in _shown(evaluation.slices):
                table.add_row(f"{name}, {what}", f"{scores.psnr:.2f}", f"{scores.ssim:.4f}")
            name = f"{name}, mean"
        table.add_row(name, f"{evaluation.mean.psnr:.2f}", f"{evaluation.mean.ssim:.4f}")
    return table


def _shown(slices: Sequence[SliceScores]) -> list[tuple[str, SliceScores]]:
    """Return all slices; of many the worst, the median and the best by PSNR."""
    if len(slices) <= _MOST_ROWS:
        return [(f"slice {index}", scores) for index, scores in enumerate(slices)]
    order = sorted(range(len(slices)), key=lambda index: slices[index].psnr)
    chosen = (("worst", order[0]), ("median", order[len(order) // 2]), ("best", order[-1]))
    return [(f"{rank} of {len(slices)} (slice {index})", slices[index]) for rank, index in chosen]


def _uncertainty(scores: UncertaintyScores, units: str) -> Table:
    unit = f" ({units})" if units else ""
    table = Table(title="its error bars, beside one constant width", title_justify="left")
    for heading in ("", "error bars", "constant"):
        table.add_column(heading, justify="right" if heading else "left")
    table.add_row("NLL (nats a pixel, range 1)", f"{scores.nll:.3f}", f"{scores.constant_nll:.3f}")
    table.add_row("NLL gained over the constant", f"{scores.nll_gain:.3f}", "0")
    table.add_row(f"CRPS{unit}", f"{scores.crps:.4g}", f"{scores.constant_crps:.4g}")
    for level in scores.levels:
        share = f"{100 * level.level:g} % interval"
        table.add_row(
            f"{share}: coverage",
            f"{100 * level.coverage:.1f} %",
            f"{100 * level.constant_coverage:.1f} %",
        )
        table.add_row(
            f"{share}: mean width{unit}", f"{level.width:.4g}", f"{level.constant_width:.4g}"
        )
    table.add_row("ECE (δ = 0)", f"{scores.ece:.3f}", "")
    if scores.sample_ece is not None and scores.sample_ece_floor is not None:
        table.add_row(
            f"ECE of sample quantiles, as published, {scores.n_samples} samples",
            f"{scores.sample_ece:.3f}",
            f"exact: {scores.sample_ece_floor:.3f}",
        )
    table.add_row(f"RMS standard deviation{unit}", f"{scores.rms_std:.4g}", f"{scores.rms_std:.4g}")
    table.add_row(f"RMS error{unit}", f"{scores.rmse:.4g}", "")
    return table


def _by_region(evaluation: Evaluation) -> Table:
    unit = f" ({evaluation.units})" if evaluation.units else ""
    table = Table(title="its error bars by region", title_justify="left")
    table.add_column("")
    widths = [f"{100 * level:g} %: held, mean width{unit}" for level in _SHOWN_LEVELS]
    for heading in ("pixels", f"RMS error{unit}", "NLL gained", *widths, "ECE (δ = 0)"):
        table.add_column(heading, justify="right")
    worst = evaluation.worst()
    for region, name in _REGIONS.items():
        found = evaluation.mean.uncertainty_of(region)
        if found is None:
            continue
        share = 1.0 if region is None else evaluation.mean.regions[region].share
        table.add_row(name, f"{100 * share:.0f} %", *_cells(found))
        if len(evaluation.slices) > 1:
            place = worst["ece" if region is None else f"ece, {region}"]
            found = evaluation.slices[place].uncertainty_of(region)
            assert found is not None, "the worst slice is one of those that have the region"
            table.add_row(f"  worst slice ({place})", "", *_cells(found))
    return table


def _cells(scores: UncertaintyScores) -> list[str]:
    shown = [level for level in scores.levels if level.level in _SHOWN_LEVELS]
    return [
        f"{scores.rmse:.4g}",
        f"{scores.nll_gain:.3f}",
        *(f"{100 * level.coverage:.1f} %, {level.width:.4g}" for level in shown),
        f"{scores.ece:.3f}",
    ]


def remarks(evaluation: Evaluation) -> list[str]:
    """Say in plain words how far the error bars can be trusted.

    Args:
        evaluation: the scores.

    Returns:
        One sentence a finding; none where there are no error bars.
    """
    scores = evaluation.mean.uncertainty
    if scores is None:
        return []
    found = []
    for level in scores.levels:
        miss = level.coverage - level.level
        if abs(miss) > _TOLERANCE:
            found.append(
                f"Badly calibrated: the {100 * level.level:g} % intervals hold "
                f"{100 * level.coverage:.1f} % of the pixels, they are too "
                f"{'wide' if miss > 0 else 'narrow'}."
            )
    if not found:
        found.append(f"All intervals hold their share of the pixels to {100 * _TOLERANCE:g} %.")
    else:
        found.append(
            f"The error is {scores.rmse / scores.rms_std:.2f} times the standard deviation (both "
            "root mean squares); calibrated error bars have 1."
        )
    better = scores.crps < scores.constant_crps and scores.nll < scores.constant_nll
    found.append(
        "The error bars know where the errors are: they beat one constant width in NLL and CRPS."
        if better
        else "The error bars do not beat one constant width of the same size in both NLL and CRPS."
    )
    return found
