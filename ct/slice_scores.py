"""Scores of one slice: how good an image and its error bars are, where the truth is known."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.calibration import (
    constant_width_baseline,
    coverage,
    expected_calibration_error,
    gaussian_crps,
    gaussian_nll,
    mean_width,
)
from bayesnn.checks import as_finite_tensor
from ct.result import Reconstruction

IntervalAt: TypeAlias = Callable[[float], tuple[Tensor, Tensor]]
LEVELS = (0.5, 0.9, 0.95)


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
    """Scores of the error bars, over the pixels of one slice.

    Attributes:
        nll: mean negative log likelihood of Gaussian pixels in nats, values divided by the truth's
            range (so that it compares with figures for images in [0, 1]).
        crps: mean continuous ranked probability score, in the image's units.
        ece: expected calibration error with δ = 0.
        rms_std: root mean square of the standard deviation, in the image's units.
        rmse: root mean square of the error, in the image's units; near `rms_std` if calibrated.
        constant_nll: as `nll`, with `rms_std` everywhere.
        constant_crps: as `crps`, with `rms_std` everywhere.
        levels: coverage and width of the intervals.
    """

    nll: float
    crps: float
    ece: float
    rms_std: float
    rmse: float
    constant_nll: float
    constant_crps: float
    levels: tuple[LevelScores, ...]


@dataclass(frozen=True, kw_only=True)
class SliceScores:
    """Scores of one slice, or means over slices.

    Attributes:
        psnr: 10 log10(range² / mean squared error) in dB, of the mean clipped to the truth's range.
        ssim: structural similarity of the clipped mean, in [−1, 1], with the truth's range mapped
            to [0, 1] (it would otherwise depend on where the units have their zero, as HU has).
        uncertainty: scores of the error bars; None where there are none.
    """

    psnr: float
    ssim: float
    uncertainty: UncertaintyScores | None = None


def score_image(
    mean: Float[Tensor, "rows columns"], truth: Float[Tensor, "rows columns"]
) -> SliceScores:
    """Score an image that has no error bars.

    Args:
        mean: the image, in float64.
        truth: what it should be.

    Returns:
        PSNR and SSIM.

    Raises:
        ValueError: the truth is constant, so that it has no range.
    """
    from skimage.metrics import structural_similarity

    low, high = float(truth.min()), float(truth.max())
    if not high > low:
        raise ValueError("truth: expected an image, got a slice of one value; PSNR has no range.")
    clipped = mean.clamp(low, high)
    clipped, truth = (clipped - low) / (high - low), (truth - low) / (high - low)
    mse = float((clipped - truth).square().mean())
    return SliceScores(
        psnr=-10 * math.log10(max(mse, np.finfo(float).tiny)),
        ssim=float(
            structural_similarity(  # type: ignore[no-untyped-call]
                clipped.numpy(), truth.numpy(), data_range=1.0
            )
        ),
    )


def score_slice(
    reconstruction: Reconstruction, truth: Float[Tensor, "rows columns"]
) -> SliceScores:
    """Score a single image and, where there are any, its error bars.

    Args:
        reconstruction: the image.
        truth: what it should be, in float64.

    Returns:
        The scores.

    Raises:
        ValueError: values that are not finite, or a truth that is constant.
    """
    mean = as_finite_tensor(reconstruction.mean, "mean", ndim=(2,), dtype=torch.float64).cpu()
    scores = score_image(mean, truth)
    if reconstruction.std is None:
        return scores
    std = as_finite_tensor(reconstruction.std, "std", ndim=(2,), dtype=torch.float64).cpu()

    def interval_at(level: float) -> tuple[Tensor, Tensor]:
        if level == 0:  # the ECE's first level: an interval without width
            return mean, mean
        lower, upper = reconstruction.interval(level)
        return lower.double().cpu(), upper.double().cpu()

    uncertainty = _score_uncertainty(mean, truth, std, interval_at)
    return dataclasses.replace(scores, uncertainty=uncertainty)


def _score_uncertainty(
    mean: Float[Tensor, "rows columns"],
    truth: Float[Tensor, "rows columns"],
    std: Float[Tensor, "rows columns"],
    interval_at: IntervalAt,
) -> UncertaintyScores:
    scale = float(truth.max() - truth.min())
    variance = std.square()
    levels = []
    for level in LEVELS:
        interval = interval_at(level)
        constant = constant_width_baseline(mean, variance, truth, level=level)
        levels.append(
            LevelScores(
                level=level,
                coverage=float(coverage(interval, truth)),
                width=float(mean_width(interval)),
                constant_coverage=float(constant.coverage),
                constant_width=float(constant.mean_width),
            )
        )
    # a pixel that claims to be certain and is wrong has no finite density
    certain = bool((variance == 0).any())
    return UncertaintyScores(
        nll=math.inf if certain else float(gaussian_nll(mean, variance, truth)) - math.log(scale),
        crps=float(gaussian_crps(mean, variance, truth)),
        ece=float(expected_calibration_error(interval_at, truth)),
        rms_std=float(constant.std),
        rmse=float((mean - truth).square().mean().sqrt()),
        constant_nll=float(constant.nll) - math.log(scale),
        constant_crps=float(constant.crps),
        levels=tuple(levels),
    )


def mean_scores(scores: tuple[SliceScores, ...]) -> SliceScores:
    """Return the means of each score over slices."""
    uncertain = [s.uncertainty for s in scores if s.uncertainty is not None]
    return SliceScores(
        psnr=fmean(s.psnr for s in scores),
        ssim=fmean(s.ssim for s in scores),
        uncertainty=_mean_of(uncertain) if uncertain else None,
    )


def _mean_of(scores: list[UncertaintyScores]) -> UncertaintyScores:
    numbers = {
        f.name: fmean(getattr(s, f.name) for s in scores)
        for f in dataclasses.fields(UncertaintyScores)
        if f.name != "levels"
    }
    levels = tuple(
        LevelScores(**{
            f.name: fmean(getattr(s.levels[k], f.name) for s in scores)
            for f in dataclasses.fields(LevelScores)
        })
        for k in range(len(LEVELS))
    )
    return UncertaintyScores(**numbers, levels=levels)
