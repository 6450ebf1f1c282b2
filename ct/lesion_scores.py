"""Detection, bias and coverage of inserted discs, over slices with their standard errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from ct.lesion_study import Observation

_LEAST_SPREAD = 1e-300  # of a posterior that knows all


@dataclass(frozen=True, kw_only=True)
class Score:
    """A mean over slices.

    Attributes:
        mean: of the slices' values.
        error: its standard error, from the slices' spread; NaN of a single slice.
    """

    mean: float
    error: float


@dataclass(frozen=True, kw_only=True)
class LesionScores:
    """How discs are seen. Scores that need uncertainty are None where there is none.

    Attributes:
        n_lesions: how many discs.
        n_slices: on how many slices.
        detection: share of discs whose contrast is above all but a share `false_alarms` of the
            empty places of their radius; None where these are too few for that share.
        auc: the probability that a disc's contrast is above an empty place's.
        detection_by_ratio: as `detection`, of the contrast over its posterior standard deviation:
            √(2 log) of the likelihood ratio of "contrast as found" to "none" under a Gaussian.
        auc_by_ratio: as `auc`, of that ratio.
        claimed: share of discs that the posterior itself calls there, at that rate of false alarms:
            Student's t of the ratio.
        claimed_empty: share of empty places that it calls discs; where there is no structure and
            the posterior is right, `false_alarms`.
        bias: mean of found minus true contrast, over the inserted contrast.
        region_coverage: share of discs whose mean lies in its interval.
        pixel_coverage: share of the discs' pixels that lie in theirs.
    """

    n_lesions: int
    n_slices: int
    detection: Score | None
    auc: Score
    detection_by_ratio: Score | None
    auc_by_ratio: Score | None
    claimed: Score | None
    claimed_empty: Score | None
    bias: Score
    region_coverage: Score | None
    pixel_coverage: Score | None


def score_lesions(
    observations: Sequence[Observation],
    *,
    false_alarms: float = 0.1,
    where: Callable[[Observation], bool] = lambda _: True,
) -> LesionScores:
    """Score some discs against the empty places of the same radii.

    Thresholds are taken from the empty places of all slices. Slices are what varies: each gives one
    value, and a standard error comes from their spread.

    Args:
        observations: discs and empty places of any number of slices, by one method.
        false_alarms: the rate of false alarms at which detection is stated.
        where: which discs count, such as those of one contrast; empty places always do.

    Returns:
        The scores.

    Raises:
        ValueError: a rate outside (0, 1), no disc, or a radius without an empty place.
    """
    if not 0 < false_alarms < 1:
        raise ValueError(f"false_alarms: expected a rate between 0 and 1, got {false_alarms!r}.")
    empty = [one for one in observations if one.lesion.contrast == 0]
    discs = [one for one in observations if one.lesion.contrast != 0 and where(one)]
    if not discs:
        raise ValueError("observations: expected at least one disc, got none.")
    if missing := {one.lesion.radius for one in discs} - {one.lesion.radius for one in empty}:
        raise ValueError(
            f"observations: expected empty places of every radius, got none of {sorted(missing)}."
        )

    def above(found: float, others: Float64[Tensor, " n"]) -> float | None:
        bound = threshold(others, false_alarms)
        return float(found > bound) if math.isfinite(bound) else None

    def called(one: Observation) -> float | None:
        ratio = _ratio(one)
        return None if ratio is None else float(ratio > _student(false_alarms, one.n_samples))

    def covered(one: Observation) -> float | None:
        return None if one.region_covered is None else float(one.region_covered)

    return LesionScores(
        n_lesions=len(discs),
        n_slices=len({one.slice_index for one in discs}),
        detection=_over_slices(discs, _against(empty, _contrast, above)),
        auc=_known(_over_slices(discs, _against(empty, _contrast, auc))),
        detection_by_ratio=_over_slices(discs, _against(empty, _ratio, above)),
        auc_by_ratio=_over_slices(discs, _against(empty, _ratio, auc)),
        claimed=_over_slices(discs, called),
        claimed_empty=_over_slices(empty, called),
        bias=_known(_over_slices(discs, lambda o: (o.found - o.true) / o.lesion.contrast)),
        region_coverage=_over_slices(discs, covered),
        pixel_coverage=_over_slices(discs, lambda o: o.pixels_covered),
    )


def _contrast(one: Observation) -> float:
    return -one.found if one.lesion.contrast < 0 else one.found


def _ratio(one: Observation) -> float | None:
    return None if one.spread is None else _contrast(one) / max(one.spread, _LEAST_SPREAD)


def _against(
    empty: Sequence[Observation],
    statistic: Callable[[Observation], float | None],
    rule: Callable[[float, Float64[Tensor, " n"]], float | None],
) -> Callable[[Observation], float | None]:
    """Return a rule's value of a disc's statistic among those of empty places of its radius."""
    by_radius = {
        radius: _tensor([statistic(one) for one in empty if one.lesion.radius == radius])
        for radius in {one.lesion.radius for one in empty}
    }

    def value(one: Observation) -> float | None:
        found, others = statistic(one), by_radius[one.lesion.radius]
        if found is None:
            return None
        # what is darker than its surroundings is looked for on the other side
        return rule(found, -others if one.lesion.contrast < 0 else others)

    return value


def _over_slices(
    places: Sequence[Observation], value: Callable[[Observation], float | None]
) -> Score | None:
    """Return the mean over slices of the mean over a slice's places."""
    of_slices: dict[int, list[float]] = {}
    for one in places:
        found = value(one)
        if found is not None:
            of_slices.setdefault(one.slice_index, []).append(found)
    if not of_slices:
        return None
    means = _tensor([math.fsum(some) / len(some) for some in of_slices.values()])
    error = float(means.std()) / math.sqrt(len(means)) if len(means) > 1 else math.nan
    return Score(mean=float(means.mean()), error=error)


def _known(score: Score | None) -> Score:
    assert score is not None  # of what every method gives
    return score


def threshold(empty: Float64[Tensor, " n"], false_alarms: float) -> float:
    """Return what a further empty place is above with a probability of at most `false_alarms`.

    It is infinite where fewer than 1/false_alarms − 1 places stand behind it.

    Example:
        >>> threshold(torch.arange(9.0).double(), 0.2), threshold(torch.arange(9.0).double(), 0.05)
        (7.0, inf)
    """
    rank = math.ceil((len(empty) + 1) * (1 - false_alarms) - 1e-9)
    return math.inf if rank > len(empty) else float(empty.sort().values[rank - 1])


def auc(found: float, empty: Float64[Tensor, " n"]) -> float:
    """Return the share of empty places that one value is above, ties counting half.

    Example:
        >>> auc(2.0, torch.tensor([1.0, 2.0, 3.0, 0.0]).double())
        0.625
    """
    above: Bool[Tensor, " n"] = empty < found
    return float(above.double().mean() + (empty == found).double().mean() / 2)


def _student(false_alarms: float, n_samples: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(n_samples - 1, 1 - false_alarms)) * math.sqrt(1 + 1 / n_samples)


def _tensor(values: Sequence[float | None]) -> Float64[Tensor, " n"]:
    return torch.tensor([one for one in values if one is not None], dtype=torch.float64)
