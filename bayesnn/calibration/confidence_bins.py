"""Points put into bins by confidence, and what each bin promises and keeps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bayesnn.checks import check_count


@dataclass(frozen=True, kw_only=True, eq=False)
class ConfidenceBins:
    """Mean confidence and share of right answers by bin, in float64 on the CPU.

    Sums of a fixed order there: a GPU's histograms change in the last bits from run to run.

    Attributes:
        count: points in each bin.
        confidence: their mean confidence, 0 in an empty bin.
        accuracy: the share of them that was right, 0 in an empty bin.
    """

    count: Int[Tensor, " bins"]
    confidence: Float[Tensor, " bins"]
    accuracy: Float[Tensor, " bins"]

    @property
    def share(self) -> Float[Tensor, " bins"]:
        """Share of all points in each bin."""
        return self.count.double() / self.count.sum()


def equal_width_bins(confidence: Float[Tensor, " n"], right: Tensor, n_bins: int) -> ConfidenceBins:
    """Put points into bins (0, 1/B], (1/B, 2/B], …; a confidence of 0 belongs to the first.

    Args:
        confidence: in [0, 1].
        right: whether each point was, in [0, 1].
        n_bins: B.

    Returns:
        The bins.

    Raises:
        ValueError: fewer than 1 bin.

    Example:
        >>> equal_width_bins(torch.tensor([0.5, 0.9]), torch.tensor([True, False]), 2).count
        tensor([1, 1])
    """
    n_bins = check_count(n_bins, "n_bins")
    # rounded to the confidence's own dtype, so that its 0.7 is the edge 7/10
    edges = (torch.arange(1, n_bins, dtype=torch.float64) / n_bins).to(confidence.dtype)
    return _bins(confidence, right, edges)


def equal_mass_bins(confidence: Float[Tensor, " n"], right: Tensor, n_bins: int) -> ConfidenceBins:
    """Put the sorted points into bins whose numbers of points differ by 1 at most, but for ties.

    Equal confidences stay together, in the first bin that reaches them, so that the order of the
    points does not matter; bins behind it hold fewer, or none.

    Args:
        confidence: of each point.
        right: whether each point was, in [0, 1].
        n_bins: number of bins.

    Returns:
        The bins.

    Raises:
        ValueError: fewer than 1 bin, or more than points.

    Example:
        >>> equal_mass_bins(torch.tensor([0.9, 0.8, 0.1, 0.8]), torch.ones(4), 2).count
        tensor([3, 1])
    """
    n = len(confidence)
    if check_count(n_bins, "n_bins") > n:
        raise ValueError(f"n_bins: expected at most one bin a point, got {n_bins} for {n} points.")
    longer = n % n_bins
    ends = torch.tensor([k * (n // n_bins) + min(k, longer) for k in range(1, n_bins)])
    return _bins(confidence, right, confidence.cpu().sort().values[ends.long() - 1])


def _bins(confidence: Tensor, right: Tensor, edges: Tensor) -> ConfidenceBins:
    confidence = confidence.cpu().contiguous()
    number = torch.bucketize(confidence, edges)  # (edge, next edge]
    n_bins = len(edges) + 1
    count = number.bincount(minlength=n_bins)
    filled = count.clamp(min=1)
    promised = number.bincount(confidence.double(), minlength=n_bins)
    kept = number.bincount(right.cpu().double(), minlength=n_bins)
    return ConfidenceBins(count=count, confidence=promised / filled, accuracy=kept / filled)
