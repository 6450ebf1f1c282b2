"""Views in folds: which are held out together, what is left of them, and what none of them sees."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise
from statistics import median

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from ct.geometry import ParallelBeam, Scan, with_angles
from ct.problem import Problem

_SAME = 1e-6  # radians, within which directions are equal
_WIDEST_STEP = 3.0  # times the median step between directions: a wider one is a gap


def view_folds(scan: Scan, n_folds: int) -> Int64[Tensor, " views"]:
    """Return the fold of every view: neighbours in direction are in different folds.

    Parallel views from opposite sides see the same rays, so they are in one fold.

    Args:
        scan: where the rays are; views in any order.
        n_folds: how many folds; as many as there are views where there are fewer.

    Returns:
        Numbers from 0 to the number of folds less one.

    Raises:
        ValueError: fewer than three views, of which none can be spared.

    Example:
        >>> from ct.geometry import ParallelBeam
        >>> view_folds(ParallelBeam([0.0, 1.0, 2.0, 0.5], 3), 2).tolist()
        [0, 0, 1, 1]
    """
    if scan.n_views < 3:
        raise ValueError(
            f"{scan.n_views} views are too few to hold any out: expected at least 3, so that two "
            "remain; use a method without held-out views, such as tv, whose images have no error "
            "bars."
        )
    order = by_direction(scan)
    directions = _direction_numbers(scan, order)
    folds = torch.empty(scan.n_views, dtype=torch.int64)
    folds[order] = directions % min(n_folds, int(directions[-1]) + 1)
    return folds


def by_direction(scan: Scan) -> Int64[Tensor, " views"]:
    """Return the views' places in the order of their angles, modulo half a turn if parallel.

    Example:
        >>> from ct.geometry import ParallelBeam
        >>> by_direction(ParallelBeam([3.0, 1.0, 2.0], 3)).tolist()
        [1, 2, 0]
    """
    return _directions(scan).argsort(stable=True)


def without_fold(problem: Problem, folds: Int64[Tensor, " views"], fold: int) -> Problem:
    """Return the problem in which a fold's rays were not measured.

    Args:
        problem: what was measured.
        folds: each view's fold.
        fold: which to leave out.

    Returns:
        The same problem with infinite noise there, and no samples asked for.
    """
    held = (folds == fold).to(problem.noise_std.device)
    noise_std = torch.where(held[:, None], math.inf, problem.noise_std)
    return dataclasses.replace(problem, noise_std=noise_std, keep_samples=False)


def turned(scan: Scan) -> Scan:
    """Return the same scan with all views turned by half a median step between directions.

    Example:
        >>> from ct.geometry import ParallelBeam
        >>> turned(ParallelBeam([0.0, 0.5, 1.0], 3)).angles
        (0.25, 0.75, 1.25)
    """
    angles = sorted(scan.angles)
    steps = [b - a for a, b in pairwise(angles) if b > a]
    half = median(steps) / 2 if steps else 0.0
    return with_angles(scan, [angle + half for angle in scan.angles])


def _directions(scan: Scan) -> Float64[Tensor, " views"]:
    turn = math.pi if isinstance(scan, ParallelBeam) else 2 * math.pi
    angles = torch.tensor(scan.angles, dtype=torch.float64)
    # rounding must not send an angle of 0 to the end
    return (angles + _SAME).remainder(turn)


def _direction_numbers(scan: Scan, order: Int64[Tensor, " views"]) -> Int64[Tensor, " views"]:
    # in the order of directions; equal ones share a number
    steps = _directions(scan)[order].diff()
    new = torch.cat([torch.zeros(1, dtype=torch.bool), steps > 2 * _SAME])
    return new.long().cumsum(0)


def unseen_directions(scan: Scan) -> str:
    """Return the directions that no view looks along, in words; empty if there are none.

    A direction counts as seen where a view's middle ray runs within a few median steps of it,
    modulo half a turn: the arc between the first and the last view of a limited-angle scan's
    complement is named.

    Args:
        scan: where the rays are.

    Returns:
        Such as "90° to 180°", in the angles' own convention.

    Example:
        >>> from ct.geometry import ParallelBeam
        >>> unseen_directions(ParallelBeam([k * 0.01 * math.pi for k in range(51)], 3))
        '90° to 180°'
        >>> unseen_directions(ParallelBeam([k * 0.01 * math.pi for k in range(100)], 3))
        ''
    """
    angles = sorted(angle % math.pi for angle in scan.angles)
    ends = [*angles[1:], angles[0] + math.pi]
    gaps = [(b - a, a, b) for a, b in zip(angles, ends, strict=True)]
    usual = median(gap for gap, _, _ in gaps)
    wide = [(a, b) for gap, a, b in gaps if gap > max(_WIDEST_STEP * usual, math.radians(2))]
    return ", ".join(f"{math.degrees(a):.0f}° to {math.degrees(b):.0f}°" for a, b in wide)


def blind_spot(scan: Scan) -> str:
    """Return what held-out views cannot tell of, to be added to what calibrated error bars.

    Args:
        scan: where the rays are.

    Returns:
        A clause that names the directions; empty where views see all.
    """
    unseen = unseen_directions(scan)
    if not unseen:
        return ""
    return f"; blind to errors along the directions that no view sees, {unseen}"
