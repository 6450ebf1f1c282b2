"""Iterations that end where the noise begins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ct.problem import Estimate, Progress

_NEAR_NOISE = 1.2  # a χ² below which no slice stalls: its end is near
_FEWEST = 10  # iterations before anything counts as stalled


@dataclass(frozen=True, kw_only=True)
class Iterate:
    """Where an iteration stands.

    Attributes:
        images: of every slice.
        chi_squared: of every slice, Σ (residual/σ)² over the number of measured rays.
    """

    images: Float[Tensor, "slices rows columns"]
    chi_squared: Float[Tensor, " slices"]


def estimates_of(
    iterates: Iterator[Iterate],
    n_iterations: int | None,
    *,
    most: int,
    stalled: float,
    progress: Progress | None = None,
) -> list[Estimate]:
    """Return `estimates_after` a number of iterations, or for None `estimates_at_noise_level`."""
    if n_iterations is None:
        return estimates_at_noise_level(iterates, most=most, stalled=stalled, progress=progress)
    return estimates_after(iterates, n_iterations, progress=progress)


def estimates_after(
    iterates: Iterator[Iterate], n_iterations: int, *, progress: Progress | None = None
) -> list[Estimate]:
    """Return every slice's image after a number of iterations.

    Args:
        iterates: the starting point first, then one an iteration.
        n_iterations: how many.
        progress: called with (iterations done, `n_iterations`).

    Returns:
        The images, with the diagnostics "iterations", "chi_squared" and "stopped".
    """
    current = next(iterates)
    for done in range(1, n_iterations + 1):
        current = next(iterates)
        if progress is not None:
            progress(done, n_iterations)
    return [
        _estimate(image, n_iterations, chi_squared, "iterations")
        for image, chi_squared in zip(current.images, current.chi_squared.tolist(), strict=True)
    ]


def estimates_at_noise_level(
    iterates: Iterator[Iterate],
    *,
    most: int,
    stalled: float,
    progress: Progress | None = None,
) -> list[Estimate]:
    """Return every slice's first image whose residual is no more than noise.

    That is the discrepancy principle: χ² ≤ 1 a measured ray. Where that is far, because the
    projector or the noise level is not right, a slice ends when χ² stalls above 1.2: then later
    iterations fit more noise than image. Each slice ends on its own.

    Args:
        iterates: the starting point first, then one an iteration.
        most: iterations after which every slice ends.
        stalled: χ² has stalled if it is over this share of what it was after half as many
            iterations.
        progress: called with (iterations done, `most`).

    Returns:
        The images, with the diagnostics "iterations", "chi_squared" and "stopped": "noise level",
        "stalled" or "iterations".

    Source:
        V. A. Morozov, On the solution of functional equations by the method of regularization,
        Soviet Mathematics Doklady 7, 1966.
    """
    n_slices = len((current := next(iterates)).images)
    finished: list[Estimate | None] = [None] * n_slices
    history = [current.chi_squared.tolist()]
    while True:
        done = len(history) - 1
        for index, chi_squared in enumerate(history[-1]):
            why = _reason([past[index] for past in history], most, stalled)
            if finished[index] is None and why is not None:
                image = current.images[index].clone()
                finished[index] = _estimate(image, done, chi_squared, why)
        if progress is not None and done > 0:
            progress(done, most)
        estimates = [estimate for estimate in finished if estimate is not None]
        if len(estimates) == n_slices:
            break
        current = next(iterates)
        history.append(current.chi_squared.tolist())
    if progress is not None:
        progress(most, most)
    return estimates


def _reason(chi_squared: list[float], most: int, stalled: float) -> str | None:
    done, now = len(chi_squared) - 1, chi_squared[-1]
    if now <= 1:
        return "noise level"
    if done >= _FEWEST and now > max(_NEAR_NOISE, stalled * chi_squared[done // 2]):
        return "stalled"
    return "iterations" if done >= most else None


def _estimate(
    image: Float[Tensor, "rows columns"], iterations: int, chi_squared: float, why: str
) -> Estimate:
    return Estimate(
        mean=image,
        diagnostics={"iterations": iterations, "chi_squared": chi_squared, "stopped": why},
    )
