"""Views between the views that were taken."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from ct.alignment.turns import GAP, covers, step_between_views
from ct.geometry import Scan

_TOUCHES = 1e-3  # a view this share of a step away from another is the other


@dataclass(frozen=True, kw_only=True)
class BetweenViews:
    """The views around each of some angles, and what they count for in cubic interpolation.

    Attributes:
        views: their numbers in the scan.
        weights: of Catmull and Rom's cubic, or linear at the ends of an arc.
        valid: whether the angle lies on a view, or between two that are neighbours.
        exact: whether every valid angle lies on a view, so that nothing is interpolated.
    """

    views: Int64[Tensor, "*place near"]
    weights: Float64[Tensor, "*place near"]
    valid: Bool[Tensor, "*place"]
    exact: bool

    @classmethod
    def of(cls, scan: Scan, angles: Float64[Tensor, "*place"]) -> BetweenViews:
        """Find the views around some angles.

        Args:
            scan: the views.
            angles: in radians, modulo 2π.

        Returns:
            The views, in the angles' shape.
        """
        turn = 2 * math.pi
        views, order = torch.tensor(scan.angles, dtype=torch.float64).remainder(turn).sort()
        n = len(views)
        step = step_between_views(scan.angles, turn)
        target = angles.remainder(turn).contiguous()
        above = torch.searchsorted(views, target)  # 0 … n, modulo n
        low, high = (above - 1) % n, above % n
        gap = (views[high] - views[low]).remainder(turn)
        into = (target - views[low]).remainder(turn)
        touches = _TOUCHES * step
        on_view = (into <= touches) | (gap - into <= touches)
        valid = (gap <= GAP * step) | on_view
        p = torch.where(gap > touches, into / gap.clamp(min=touches), 0.0)
        p = torch.where(on_view, p.round(), p)
        if covers(scan.angles, turn):
            index = torch.stack([(above - 2) % n, low, high, (above + 1) % n], dim=-1)
            cubic = [
                -p * (1 - p) ** 2 / 2,
                (2 - 5 * p**2 + 3 * p**3) / 2,
                p * (1 + 4 * p - 3 * p**2) / 2,
                -(p**2) * (1 - p) / 2,
            ]
            weights = torch.stack(cubic, dim=-1)
        else:
            index = torch.stack([low, high], dim=-1)
            weights = torch.stack([1 - p, p], dim=-1)
        exact = bool(on_view[valid].all())
        return cls(views=order[index], weights=weights, valid=valid, exact=exact)
