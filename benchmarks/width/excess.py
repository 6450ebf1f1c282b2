"""Errors beyond Monte Carlo's, their standard errors, and how they fall with the width."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bayesnn.reference_file import Reference

GROUPS = 20  # of members, one of which the jackknife leaves out at a time

Estimate = tuple[float, float]  # an error and its standard error
Statistic = Callable[[Tensor], Tensor]  # members' whitened values, [m, n] -> a number


@dataclass(frozen=True, kw_only=True)
class Excess:
    """A mean square beyond what as many exact samples would show, with its standard error."""

    square: float
    error: float

    @property
    def seen(self) -> bool:
        """Whether it is more than two standard errors above nothing."""
        return self.square > 2 * self.error

    @property
    def root(self) -> Estimate | None:
        """Its root; None where it is not seen."""
        if not self.seen:
            return None
        root = math.sqrt(self.square)
        return root, self.error / (2 * root)

    def __str__(self) -> str:
        """Return its root, or what its error hides."""
        if self.root is None:
            return f"< {math.sqrt(max(self.square, 0) + 2 * self.error):.3f}"
        return f"{self.root[0]:.3f} ± {self.root[1]:.3f}"


def mean_square(white: Float[Tensor, "m n"]) -> Tensor:
    """Return the mean square of the mean's error in standard deviations, without its floor."""
    return (white.mean(0).square() - white.var(0) / len(white)).mean()


def std_square(white: Float[Tensor, "m n"]) -> Tensor:
    """Return the mean square of (ratio of standard deviations − 1), without its floor."""
    m = len(white)
    ratio = white.std(0)
    # Var s ≈ σ²/(2(m − 1)) for Gaussian members
    return ((ratio - 1).square() - ratio.square() / (2 * (m - 1))).mean()


def excess(
    values: Float[Tensor, "m n"], reference: Reference, which: Bool[Tensor, " n"], of: Statistic
) -> Excess:
    """Return a statistic's value and its jackknife error over groups of members."""
    std = reference.covariance.diagonal().sqrt()
    white = ((values - reference.mean[:, 0]) / std)[:, which]
    group = torch.arange(len(white)) % GROUPS
    left_out = torch.stack([of(white[group != i]) for i in range(GROUPS)])
    error = ((GROUPS - 1) / GROUPS * (left_out - left_out.mean()).square().sum()).sqrt()
    return Excess(square=float(of(white)), error=float(error))


def slope(widths: list[int], found: list[Estimate | None]) -> str:
    """Return the slope of log error against log width over the widths where an error is seen.

    Weighted least squares; the standard error is the larger of that from the errors' own and that
    from the scatter about the line.
    """
    seen = [(w, *one) for w, one in zip(widths, found, strict=True) if one is not None]
    if len(seen) < 3:
        return f"seen at {len(seen)} widths only"
    x, value, error = torch.tensor(seen, dtype=torch.float64).T
    x, y, weight = x.log(), value.log(), (value / error).square()
    x = x - (weight * x).sum() / weight.sum()
    y = y - (weight * y).sum() / weight.sum()
    spread = (weight * x * x).sum()
    found_slope = float((weight * x * y).sum() / spread)
    scatter = (weight * (y - found_slope * x).square()).sum() / (len(seen) - 2)
    own = math.sqrt(max(1.0, float(scatter)) / float(spread))
    return f"{found_slope:.2f} ± {own:.2f} ({int(seen[0][0]):,} … {int(seen[-1][0]):,})"
