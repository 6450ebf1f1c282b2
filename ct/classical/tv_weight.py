"""The weight of total variation, chosen by what it makes of views that it did not see."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from ct.classical.primal_dual import advance, flatness_of, start
from ct.classical.primal_dual_metric import Metric
from ct.classical.primal_dual_state import State
from ct.classical.tv_objective import TVProblem, misfit, total_variation
from ct.posterior.held_out_views import held_out_mask

_SHARE = 0.1  # of the views, held out
_FEWEST_VIEWS = 8  # with fewer, bins are held out
_FIRST = 1.0  # λ · TV(x) over the number of rays, to begin with: mostly too much
_LEAST = 1e-3  # of the variation that noise alone would bring
_ROUND = 10  # iterations between two looks at the held-out views
_FEWEST_ROUNDS = 5  # in which the first weight follows the image
_MOST_ROUNDS = 30  # at one weight
_STEADY = 0.05  # relative change of the first weight in a round, below which it has settled
_STILL = 0.01  # relative change of χ² in a round, below which a weight's score is taken
_LEAST_FIT = 0.5  # χ² a ray; the best weights leave 0.57 to 0.94
_FACTOR = 1.6  # from one weight to the next
_MOST_WEIGHTS = 14  # a range of 1.6¹³ = 450
_MOST_PRECISE = 16.0  # times the precision of a ray whose noise has the root mean square


@dataclass(frozen=True, kw_only=True)
class ChosenWeights:
    """The weights, and where the search for them ended.

    Attributes:
        weights: λ of every slice, for all rays.
        state: the iteration's state with the last weight tried, to go on from.
        tried: how many weights were tried for each slice.
    """

    weights: Float64[Tensor, " slices"]
    state: State
    tried: list[int]


def choose_weights(
    problem: TVProblem,
    metric: Metric,
    report: Callable[[float], None] | None = None,
) -> ChosenWeights:
    """Choose each slice's weight: the one whose image predicts held-out views best.

    A tenth of the views, evenly spread, gets no precision. Beginning at λ = rays/TV(x), weights
    go down by factors of 1.6, or up, until the held-out views' χ² has a minimum, and a parabola
    through the three points around it, over log λ, gives the weight. Each weight starts from the
    image of the last and goes on until χ² changes by less than 1 % in ten iterations.

    Where views are so few that without a tenth of them no weight predicts the rest, their χ² says
    nothing; so weights that fit the other rays better than χ² = rays/2, which is mostly noise, are
    not taken.

    The noise level weighs the rays against one another and says where to begin. If all of it is
    wrong by one factor, λ follows and the image hardly moves; rules that ask for χ² = rays, or
    count degrees of freedom, lose up to 2 dB where it is 5 % wrong.

    Rays through air may have thousands of times the photons of others. Their residuals would be
    most of any χ², long before the iteration has brought them down to the noise, and the rays
    through the object would not be heard; so no ray is taken for more than four times as exact as
    the noise's root mean square. The iteration is the slower for unequal rays, and the smaller λ
    is: a small λ's score would be taken too early, and one that was tried later seem better because
    it went on. So the search begins as far above λ = rays/TV(x) as rays are unequal, by the
    mean of their precisions times that of their variances, tries larger weights first, and scores
    the one below the best again.

    Args:
        problem: sinograms and precisions; its weights do not matter.
        metric: the filters.
        report: called with the share of the search that is done.

    Returns:
        The weights.
    """
    problem = dataclasses.replace(problem, precision=_bounded(problem.precision))
    held = _held_out(problem)
    fitted = dataclasses.replace(problem, precision=torch.where(held, 0.0, problem.precision))
    state, weights = _first_weights(fitted, metric)
    searches = [
        _Search(origin=weight, first=first)
        for weight, first in zip(weights.log().tolist(), _steps_above(fitted), strict=True)
    ]
    weights = weights.new_tensor([search.next for search in searches]).exp()
    fitted = dataclasses.replace(fitted, weights=weights)
    ended = state
    open_slices = list(range(len(searches)))
    for tried in range(1, _MOST_WEIGHTS + 1):
        state, scores = _settled(fitted, problem, metric, state, held)
        for index, score in zip(open_slices, scores, strict=True):
            searches[index].add(score)
        ended = ended.with_slices(torch.tensor(open_slices, device=held.device), state)
        if report is not None:
            report(tried / _MOST_WEIGHTS)
        keep = [place for place, index in enumerate(open_slices) if not searches[index].done]
        if not keep:
            break
        chosen = torch.tensor(keep, device=problem.sinograms.device)
        open_slices = [open_slices[place] for place in keep]
        logs = [searches[index].next for index in open_slices]
        weights = torch.tensor(logs, dtype=torch.float64, device=chosen.device).exp()
        problem, state, held = problem.select(chosen), state.select(chosen), held[chosen]
        fitted = dataclasses.replace(fitted.select(chosen), weights=weights)
    best = torch.tensor([search.best for search in searches], dtype=torch.float64)
    return ChosenWeights(
        weights=best.exp().to(ended.image.device),
        state=ended,
        tried=[len(search.scores) for search in searches],
    )


def _bounded(
    precision: Float[Tensor, "slices views detectors"],
) -> Float[Tensor, "slices views detectors"]:
    """Return the precisions, none above 16 over the mean variance of the slice's rays."""
    measured = precision > 0
    variance = torch.where(measured, 1 / precision, 0.0)
    mean = _total(variance) / measured.sum(dim=(-2, -1)).clamp(min=1)
    most = (_MOST_PRECISE / mean.clamp(min=1e-300))[:, None, None]
    return torch.minimum(precision.double(), most).to(precision)


def _steps_above(fitted: TVProblem) -> list[int]:
    """Return log(mean precision · mean variance) in factors of 1.6: 0 where rays are equal."""
    measured = fitted.precision > 0
    n_rays = measured.sum(dim=(-2, -1)).double().clamp(min=1)
    variance = torch.where(measured, 1 / fitted.precision, 0.0)
    unequal = _total(fitted.precision) / n_rays * (_total(variance) / n_rays)
    return [round(math.log(max(one, 1.0)) / math.log(_FACTOR)) for one in unequal.tolist()]


def _first_weights(fitted: TVProblem, metric: Metric) -> tuple[State, Float64[Tensor, " slices"]]:
    """Return the λ with λ · TV(x) = number of rays, and the state in which it has settled."""
    n_rays = (fitted.precision > 0).sum(dim=(-2, -1)).double().clamp(min=1)
    # what noise alone would make of a pixel, so that empty scans get a weight too
    noise = (n_rays / _total(fitted.precision).clamp(min=1e-300)).sqrt()
    ended = state = start(fitted, metric)
    least = _LEAST * noise * state.image[0].numel() / float(metric.ones_projection.amax())
    weights = torch.zeros_like(n_rays)
    open_slices = torch.arange(len(n_rays), device=n_rays.device)
    for round_ in range(_MOST_ROUNDS):
        variation = total_variation(state.image, fitted.lengths).maximum(least[open_slices])
        new = _FIRST * n_rays[open_slices] / variation
        moving = (new / weights[open_slices] - 1).abs() > _STEADY
        keep = (moving | (round_ < _FEWEST_ROUNDS)).nonzero().flatten()
        if len(keep) == 0:
            break
        open_slices = open_slices[keep]
        weights[open_slices] = new[keep]
        fitted = dataclasses.replace(fitted.select(keep), weights=new[keep])
        flatness = flatness_of(fitted, state.select(keep))
        state, _ = advance(fitted, metric, state.select(keep), _ROUND, flatness)
        ended = ended.with_slices(open_slices, state)
    return ended, weights


def _settled(
    fitted: TVProblem,
    problem: TVProblem,
    metric: Metric,
    state: State,
    held: Bool[Tensor, "slices views detectors"],
) -> tuple[State, list[float]]:
    """Return the state in which each slice's score no longer changes, and the scores."""
    flatness = flatness_of(fitted, state)
    open_slices = list(range(len(held)))
    ended, scores = state, [math.inf] * len(held)
    for _ in range(_MOST_ROUNDS):
        state, proposal = advance(fitted, metric, state, _ROUND, flatness)
        new = _score(fitted, problem, proposal, held).tolist()
        still = [
            abs(score - scores[index]) <= _STILL * score
            for score, index in zip(new, open_slices, strict=True)
        ]
        for index, score in zip(open_slices, new, strict=True):
            scores[index] = score
        ended = ended.with_slices(torch.tensor(open_slices, device=held.device), state)
        keep = [place for place, one in enumerate(still) if not one]
        if not keep:
            break
        if len(keep) < len(open_slices):
            chosen = torch.tensor(keep, device=held.device)
            open_slices = [open_slices[place] for place in keep]
            fitted, problem = fitted.select(chosen), problem.select(chosen)
            state, held, flatness = state.select(chosen), held[chosen], flatness[chosen]
    return ended, scores


@dataclass(kw_only=True)
class _Search:
    """One slice's scores over log λ, at origin + k log 1.6, from k = first on."""

    origin: float
    first: int = 0
    scores: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.current = self.first

    def add(self, score: float) -> None:
        """Take the score at the current weight, and go to the next."""
        self.scores.pop(self.current, None)  # the dictionary keeps the order of scores
        self.scores[self.current] = score
        k, step = self._lowest, 1 if self.first > 0 else -1
        self.current = k + step if k + step not in self.scores else k - step

    @property
    def done(self) -> bool:
        """Whether the lowest score has one on either side, below not from long before."""
        k, order = self._lowest, list(self.scores)
        if k - 1 not in self.scores or k + 1 not in self.scores:
            return False
        return self.first == 0 or order.index(k - 1) > order.index(k)

    @property
    def next(self) -> float:
        """The next log λ: on one side of the lowest score's, or the other where that was tried."""
        return self.origin + self.current * math.log(_FACTOR)

    @property
    def best(self) -> float:
        """The log λ where a parabola is lowest, or the end of the range."""
        k, shift = self._lowest, 0.0
        if self.done:
            below, at, above = (self.scores[k + i] for i in (-1, 0, 1))
            curvature = below - 2 * at + above
            shift = (below - above) / (2 * curvature) if curvature > 0 else 0.0
        return self.origin + (k + shift) * math.log(_FACTOR)

    @property
    def _lowest(self) -> int:
        return min(self.scores, key=lambda k: self.scores[k])


def _held_out(problem: TVProblem) -> Bool[Tensor, "slices views detectors"]:
    """Return the rays that are held out: those of whole views, where there are enough."""
    _, n_views, n_detectors = problem.sinograms.shape
    if n_views >= _FEWEST_VIEWS:
        mask = held_out_mask(n_views, _SHARE)[:, None]
    else:
        mask = held_out_mask(n_detectors, _SHARE)[None, :]
    return mask.to(problem.sinograms.device).expand_as(problem.sinograms)


def _score(
    fitted: TVProblem,
    problem: TVProblem,
    state: State,
    held: Bool[Tensor, "slices views detectors"],
) -> Float64[Tensor, " slices"]:
    """Return χ² of the rays held out; where the others fit too well, more than any image's."""
    squares = problem.precision * (state.projection - problem.sinograms).square()
    n_fitted = (fitted.precision > 0).sum(dim=(-2, -1)).clamp(min=1)
    fit = misfit(fitted, state.projection) / n_fitted
    found = _total(torch.where(held, squares, 0.0))
    nothing = _total(problem.precision * problem.sinograms.square()) + found
    return torch.where(fit < _LEAST_FIT, nothing * (2 - fit), found)


def _total(values: Float[Tensor, "slices views detectors"]) -> Float64[Tensor, " slices"]:
    return values.sum(dim=(-2, -1), dtype=torch.float64)
