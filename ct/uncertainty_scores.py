"""Scores of error bars over some pixels, where the truth is known."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeAlias

from jaxtyping import Bool, Float
from torch import Tensor

from bayesnn.calibration import (
    constant_width_baseline,
    coverage,
    crps_gaussian,
    ece_floor,
    expected_calibration_error,
    mean_width,
    nll_gaussian,
    sample_quantile_intervals,
)
from ct.result import Reconstruction

Interval: TypeAlias = tuple[Tensor, Tensor]
IntervalAt: TypeAlias = Callable[[float], Interval]
LEVELS = (0.5, 0.9, 0.95)
_ECE_LEVELS = tuple(k / 20 for k in range(20))


@dataclass(frozen=True, kw_only=True)
class LevelScores:
    """One level's central intervals, and the baseline's: the same RMS deviation everywhere.

    Attributes:
        level: the share of the pixels that the intervals claim to hold.
        coverage: the share that they hold.
        width: their mean width, in the image's units.
        constant_coverage: the share that intervals of one width hold.
        constant_width: that width.
    """

    level: float
    coverage: float
    width: float
    constant_coverage: float
    constant_width: float


@dataclass(frozen=True, kw_only=True)
class UncertaintyScores:
    """Scores of the error bars, over the pixels of one slice or of a region of it.

    Attributes:
        nll: mean negative log likelihood of Gaussian pixels in nats, values divided by the truth's
            range (so that it compares with figures for images in [0, 1]).
        crps: mean continuous ranked probability score, in the image's units.
        ece: expected calibration error with δ = 0.
        rms_std: root mean square of the standard deviation, in the image's units.
        rmse: root mean square of the error, in the image's units; near `rms_std` if calibrated.
        constant_nll: as `nll`, with `rms_std` everywhere.
        constant_crps: as `crps`, with `rms_std` everywhere.
        nll_gain: `constant_nll` − `nll`: what knowing where the errors are is worth.
        levels: coverage and width of the intervals.
        n_samples: how many samples stand behind the error bars.
        sample_ece: as `ece`, of intervals between sample quantiles, as published figures take them
            (but with δ = 0); None where the result keeps no samples.
        sample_ece_floor: what exact posterior samples of that number would score there.
    """

    nll: float
    crps: float
    ece: float
    rms_std: float
    rmse: float
    constant_nll: float
    constant_crps: float
    nll_gain: float
    levels: tuple[LevelScores, ...]
    n_samples: int | None = None
    sample_ece: float | None = None
    sample_ece_floor: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ErrorBars:
    """Error bars of one slice beside its truth, ready to be scored over any pixels.

    Attributes:
        mean: the image, in float64.
        std: its standard deviation.
        truth: what the image should be.
        intervals: the central interval of each level.
        sample_intervals: the same between sample quantiles; None without samples.
        n_samples: how many samples stand behind them.
    """

    mean: Float[Tensor, "rows columns"]
    std: Float[Tensor, "rows columns"]
    truth: Float[Tensor, "rows columns"]
    intervals: dict[float, Interval]
    sample_intervals: dict[float, Interval] | None
    n_samples: int | None

    @staticmethod
    def of(
        reconstruction: Reconstruction,
        mean: Float[Tensor, "rows columns"],
        std: Float[Tensor, "rows columns"],
        truth: Float[Tensor, "rows columns"],
    ) -> ErrorBars:
        """Take the intervals of a single image, once for all regions.

        Args:
            reconstruction: the image.
            mean: its mean, checked, in float64 on the CPU.
            std: its standard deviation, likewise.
            truth: what it should be.

        Returns:
            The error bars.
        """
        intervals = {0.0: (mean, mean)}  # the ECE's first level: an interval without width
        for level in sorted({*_ECE_LEVELS[1:], *LEVELS}):
            lower, upper = reconstruction.interval(level)
            intervals[level] = (lower.double().cpu(), upper.double().cpu())
        samples = reconstruction.samples
        between = None if samples is None else sample_quantile_intervals(samples.double().cpu())
        return ErrorBars(
            mean=mean,
            std=std,
            truth=truth,
            intervals=intervals,
            sample_intervals=None if between is None else {p: between(p) for p in _ECE_LEVELS},
            n_samples=reconstruction.n_samples,
        )

    def score(self, where: Bool[Tensor, "rows columns"]) -> UncertaintyScores:
        """Score the error bars of some pixels; the range is that of the whole truth.

        Args:
            where: true at the pixels that count, at least one.

        Returns:
            The scores.
        """
        mean, truth, std = self.mean[where], self.truth[where], self.std[where]
        scale = float(self.truth.max() - self.truth.min())
        within = _at(self.intervals, where)
        between = None if self.sample_intervals is None else _at(self.sample_intervals, where)
        constants = {p: constant_width_baseline(mean, std.square(), truth, level=p) for p in LEVELS}
        constant = constants[LEVELS[0]]
        # a pixel that claims to be certain and is wrong has no finite density
        certain = bool((std == 0).any())
        nll = float("inf") if certain else float(nll_gaussian(truth, mean, std))
        return UncertaintyScores(
            nll=nll - math.log(scale),
            crps=float(crps_gaussian(truth, mean, std)),
            ece=float(expected_calibration_error(within, truth)),
            rms_std=float(constant.std),
            rmse=float((mean - truth).square().mean().sqrt()),
            constant_nll=float(constant.nll) - math.log(scale),
            constant_crps=float(constant.crps),
            nll_gain=float(constant.nll) - nll,
            levels=tuple(
                LevelScores(
                    level=level,
                    coverage=float(coverage(within(level), truth)),
                    width=float(mean_width(within(level))),
                    constant_coverage=float(constants[level].coverage),
                    constant_width=float(constants[level].mean_width),
                )
                for level in LEVELS
            ),
            n_samples=self.n_samples,
            sample_ece=(
                None if between is None else float(expected_calibration_error(between, truth))
            ),
            sample_ece_floor=(
                None if between is None or self.n_samples is None else ece_floor(self.n_samples)
            ),
        )


def mean_uncertainty(scores: Sequence[UncertaintyScores]) -> UncertaintyScores:
    """Return the means of each score.

    Args:
        scores: at least one; a score that one of them lacks, the mean lacks.
    """
    numbers: dict[str, Any] = {}
    for field in dataclasses.fields(UncertaintyScores):
        if field.name not in {"levels", "n_samples"}:
            values = [getattr(one, field.name) for one in scores]
            numbers[field.name] = None if None in values else fmean(values)
    levels = tuple(
        LevelScores(**{
            f.name: fmean(getattr(s.levels[k], f.name) for s in scores)
            for f in dataclasses.fields(LevelScores)
        })
        for k in range(len(LEVELS))
    )
    return UncertaintyScores(**numbers, levels=levels, n_samples=scores[0].n_samples)


def _at(intervals: dict[float, Interval], where: Bool[Tensor, "rows columns"]) -> IntervalAt:
    chosen = {level: (lower[where], upper[where]) for level, (lower, upper) in intervals.items()}
    return chosen.__getitem__
