"""Scores of one slice: how good an image and its error bars are, where the truth is known."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bayesnn.checks import as_finite_tensor
from ct.result import Reconstruction
from ct.score_regions import score_regions
from ct.uncertainty_scores import ErrorBars, UncertaintyScores, mean_uncertainty


@dataclass(frozen=True, kw_only=True)
class RegionScores:
    """Scores of some pixels of a slice, or means over slices.

    Attributes:
        share: the region's part of all pixels.
        psnr: 10 log10(range² / mean squared error) in dB; the range is that of the whole truth.
        rmse: root mean square of the error, in the image's units.
        uncertainty: scores of the error bars; None where there are none.
    """

    share: float
    psnr: float
    rmse: float
    uncertainty: UncertaintyScores | None = None


@dataclass(frozen=True, kw_only=True)
class SliceScores:
    """Scores of one slice, or means over slices.

    Attributes:
        psnr: 10 log10(range² / mean squared error) in dB, of the mean clipped to the truth's range.
        ssim: structural similarity of the clipped mean, in [−1, 1], with the truth's range mapped
            to [0, 1] (it would otherwise depend on where the units have their zero, as HU has).
        uncertainty: scores of the error bars; None where there are none.
        regions: scores inside the "body" and near "edges", as `ct.score_regions` finds them in the
            truth; a region that is not there is left out.
    """

    psnr: float
    ssim: float
    uncertainty: UncertaintyScores | None = None
    regions: Mapping[str, RegionScores] = field(default_factory=dict)

    def uncertainty_of(self, region: str | None) -> UncertaintyScores | None:
        """Return the error bars' scores of a region, None being the whole slice.

        Args:
            region: such as "body".

        Returns:
            The scores; None where there is no such region or there are no error bars.
        """
        if region is None:
            return self.uncertainty
        scores = self.regions.get(region)
        return None if scores is None else scores.uncertainty


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
    """Score a single image and, where there are any, its error bars, in all and by region.

    Args:
        reconstruction: the image.
        truth: what it should be, in float64.

    Returns:
        The scores.

    Raises:
        ValueError: values that are not finite, error bars of 0 alone, or a truth that is constant.
    """
    mean = as_finite_tensor(reconstruction.mean, "mean", ndim=(2,), dtype=torch.float64).cpu()
    truth = truth.cpu()
    scores = score_image(mean, truth)
    bars = None
    if reconstruction.std is not None:
        std = as_finite_tensor(reconstruction.std, "std", ndim=(2,), dtype=torch.float64).cpu()
        bars = ErrorBars.of(reconstruction, mean, std, truth)
    masks = score_regions(truth)
    return dataclasses.replace(
        scores,
        uncertainty=None if bars is None else bars.score(masks.pop("all")),
        regions={
            name: _score_region(mean, truth, bars, mask)
            for name, mask in masks.items()
            if name != "all"
        },
    )


def mean_scores(scores: tuple[SliceScores, ...]) -> SliceScores:
    """Return the means of each score over slices; of a region, over the slices that have it."""
    uncertain = [s.uncertainty for s in scores if s.uncertainty is not None]
    names = dict.fromkeys(name for one in scores for name in one.regions)
    return SliceScores(
        psnr=fmean(s.psnr for s in scores),
        ssim=fmean(s.ssim for s in scores),
        uncertainty=mean_uncertainty(uncertain) if uncertain else None,
        regions={
            name: _mean_region([one.regions[name] for one in scores if name in one.regions])
            for name in names
        },
    )


def _score_region(
    mean: Float[Tensor, "rows columns"],
    truth: Float[Tensor, "rows columns"],
    bars: ErrorBars | None,
    mask: Bool[Tensor, "rows columns"],
) -> RegionScores:
    low, high = float(truth.min()), float(truth.max())
    clipped = float((mean.clamp(low, high) - truth)[mask].square().mean())
    return RegionScores(
        share=float(mask.double().mean()),
        psnr=-10 * math.log10(max(clipped / (high - low) ** 2, np.finfo(float).tiny)),
        rmse=float((mean - truth)[mask].square().mean().sqrt()),
        uncertainty=None if bars is None or not bool(bars.std[mask].any()) else bars.score(mask),
    )


def _mean_region(scores: list[RegionScores]) -> RegionScores:
    uncertain = [one.uncertainty for one in scores if one.uncertainty is not None]
    return RegionScores(
        share=fmean(one.share for one in scores),
        psnr=fmean(one.psnr for one in scores),
        rmse=fmean(one.rmse for one in scores),
        uncertainty=mean_uncertainty(uncertain) if uncertain else None,
    )
