"""Sets of classes that hold the true one as often as promised: adaptive prediction sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bayesnn.calibration.chunks import MEMORY_BUDGET, row_chunks
from bayesnn.calibration.class_inputs import checked_labels, checked_probabilities
from bayesnn.calibration.conformal import bounding_quantile
from bayesnn.seeds import seeded_generator

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

# of the random streams, so that held-out and further points share no draw at equal seeds
_HELD_OUT, _FURTHER = 0, 1
_HELD = 8
"""float64 numbers at once for each probability of a chunk."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AdaptiveSets:
    """Sets of the classes whose score is at most the conformal quantile of held-out points.

    Attributes:
        scores: of the true classes of the held-out points, [n].
        n_classes: how many classes there are.
        randomised: whether scores are randomised.
    """

    scores: Tensor
    n_classes: int
    randomised: bool

    def sets(
        self,
        probabilities: ArrayLike | Tensor,
        *,
        level: float = 0.95,
        seed: int = 0,
        memory_budget: int = MEMORY_BUDGET,
    ) -> Bool[Tensor, "n classes"]:
        """Return sets that hold the true class with probability `level` at least.

        Args:
            probabilities: predicted, [n, classes].
            level: 1 − α, in (0, 1).
            seed: of the draws, one a point, where the sets are randomised; a call with the same
                seed draws the same, row by row, and never what the fit drew.
            memory_budget: bytes that intermediate values may take.

        Returns:
            Which classes belong to each point's set. Randomised sets may be empty where the
            predictions leave no doubt. Sets of all classes, with a warning, where there are fewer
            than level/(1 − level) held-out points.

        Raises:
            ValueError: no probabilities, another number of classes than at the fit, a level
                outside (0, 1), a budget below 1.
        """
        p = checked_probabilities(probabilities)
        if p.shape[1] != self.n_classes:
            raise ValueError(
                f"probabilities: expected {self.n_classes} columns as at the fit, got {p.shape[1]}."
            )
        quantile = bounding_quantile(self.scores, level).to(p.device)
        part = _drawn_parts(p, seed, _FURTHER) if self.randomised else _whole(p)

        def chosen(some: Tensor, part: Tensor) -> Tensor:
            within = adaptive_scores(some, part) <= quantile
            if self.randomised:
                return within
            return within | (adaptive_scores(some, torch.zeros_like(part)) < quantile)

        return torch.cat([chosen(*one) for one in _chunks(p, part, memory_budget)])


def fit_adaptive_sets(
    y: ArrayLike | Tensor,
    probabilities: ArrayLike | Tensor,
    *,
    randomised: bool = True,
    seed: int = 0,
    memory_budget: int = MEMORY_BUDGET,
) -> AdaptiveSets:
    """Learn from held-out points how much probability sets of classes have to gather.

    A class's score is the probability of all classes that are more likely, plus u times its own
    (see `adaptive_scores`), and q the ⌈(1 − α)(n + 1)⌉-th smallest score of held-out points' true
    classes. With u drawn uniformly for each point (`randomised`), the set is that of all classes
    with scores of at most q: it holds the true class of a further point, exchangeable with the n
    held-out ones, with probability at least 1 − α and below 1 − α + 1/(n + 1). Without draws u = 1,
    and the set gathers the likeliest classes up to the one with which their probabilities reach q:
    at least 1 − α again, but larger sets, which are never empty.

    Args:
        y: classes of held-out points that no part of the prediction has seen, from 0, [n].
        probabilities: predicted for them, [n, classes].
        randomised: whether u is drawn.
        seed: of these draws.
        memory_budget: bytes that intermediate values may take.

    Returns:
        What turns probabilities into sets, at any level.

    Raises:
        ValueError: no probabilities, classes that are not their columns' numbers, or a budget
            below 1.

    Source:
        Y. Romano, M. Sesia, E. Candès, NeurIPS 2020, arXiv 2006.02544, theorem 1.

    Example:
        >>> p = [[0.7, 0.3], [0.6, 0.4], [0.9, 0.1]]
        >>> fitted = fit_adaptive_sets([0, 0, 0], p, randomised=False)
        >>> fitted.sets([[0.8, 0.2], [0.5, 0.5]], level=0.5)
        tensor([[ True, False],
                [ True,  True]])
    """
    p = checked_probabilities(probabilities)
    labels = checked_labels(y, p, "probabilities")
    part = _drawn_parts(p, seed, _HELD_OUT) if randomised else _whole(p)
    scores = [
        adaptive_scores(some, u).gather(1, label[:, None]).squeeze(1)
        for some, u, label in _chunks(p, part, memory_budget, labels)
    ]
    return AdaptiveSets(scores=torch.cat(scores), n_classes=p.shape[1], randomised=randomised)


def adaptive_scores(
    probabilities: ArrayLike | Tensor, part: Float[Tensor, " n"] | None = None
) -> Float[Tensor, "n classes"]:
    """Probability of all classes that are more likely than a class, plus a part of its own.

    s_k = Σ_{j before k} p_j + u·p_k, with classes in the order of falling probability, equal ones
    in the columns' order.

    Args:
        probabilities: p, [n, classes].
        part: u in [0, 1], one a point; None for 1.

    Returns:
        Scores in [0, 1], of float64; with u = 1 the least likely class has exactly 1.

    Raises:
        ValueError: no probabilities.

    Example:
        >>> adaptive_scores([[0.25, 0.5, 0.25]])
        tensor([[0.7500, 0.5000, 1.0000]], dtype=torch.float64)
    """
    p = checked_probabilities(probabilities).double()
    ordered, order = p.sort(dim=1, descending=True, stable=True)
    gathered = ordered.cumsum(1)
    total = gathered[:, -1:]
    if part is not None:
        gathered = gathered - (1 - part.to(p))[:, None] * ordered
    return torch.empty_like(p).scatter_(1, order, gathered / total)


def _chunks(
    p: Tensor, part: Tensor, memory_budget: int, *others: Tensor
) -> Iterator[tuple[Tensor, ...]]:
    per_row = _HELD * p.shape[1]
    return row_chunks(p, part, *others, numbers_per_row=per_row, memory_budget=memory_budget)


def _whole(p: Tensor) -> Tensor:
    return p.new_ones(len(p), dtype=torch.float64)


def _drawn_parts(p: Tensor, seed: int, place: int) -> Tensor:
    drawn = torch.rand(len(p), generator=seeded_generator(seed, place), dtype=torch.float64)
    return drawn.to(p.device)
