"""What a method of this comparison is, and how its settings are chosen without test rows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from jaxtyping import Float
from torch import Tensor

from benchmarks.failures import FAILURES, said
from benchmarks.flight_delays.mixture import Mixture
from benchmarks.flight_delays.prior import Prior

Settings: TypeAlias = Mapping[str, Any]
Predict: TypeAlias = Callable[[Float[Tensor, "n 8"]], Mixture]

TRAINING = ("steps", "batch_size", "width", "depth", "device")  # what networks spend
NETWORK = (*TRAINING, "prior_rows")  # those with the shared prior
MOST_CANDIDATES = 4  # of every method alike


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What every method may spend; neural ones have as many units, and take as many steps.

    Attributes:
        members: of an ensemble.
        draws: posterior samples of methods that have no members.
        steps: of Adam.
        batch_size: rows a step.
        width: units of a hidden layer.
        depth: hidden layers.
        subset: rows of the exact process.
        inducing: points of the sparse process.
        trees: of the boosted ones.
        prior_rows: of the marginal likelihood that chooses priors.
        device: where networks are trained.
    """

    members: int = 10
    draws: int = 50
    steps: int = 2000
    batch_size: int = 1024
    width: int = 256
    depth: int = 2
    subset: int = 2000
    inducing: int = 512
    trees: int = 1000
    prior_rows: int = 2500
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Training rows, standardised, and what all methods share.

    Attributes:
        x: features of mean 0 and variance 1, float64.
        y: targets likewise.
        priors: scales that the marginal likelihood chose, by the groups of `PRIORS`.
        budget: what may be spent.
        seed: of all that is random.
    """

    x: Float[Tensor, "n 8"]
    y: Float[Tensor, " n"]
    priors: Mapping[str, Prior]
    budget: Budget
    seed: int

    def steps(self, share: float = 1.0) -> int:
        """Return a share of the steps."""
        return max(1, math.ceil(share * self.budget.steps))

    @property
    def batch_size(self) -> int:
        """Rows a step, at most all."""
        return min(self.budget.batch_size, len(self.x))


class Method(Protocol):
    """A method for tables of many rows."""

    @property
    def name(self) -> str:
        """Return what tables call it."""

    @property
    def spends(self) -> Sequence[str]:
        """Return the parts of the budget on which its numbers depend."""

    @property
    def candidates(self) -> Sequence[Settings]:
        """Return the settings that it may choose from, `MOST_CANDIDATES` at most."""

    def fit(self, problem: Problem, settings: Settings) -> Predict:
        """Fit, and return what predicts standardised targets."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A method with the settings that did best on the validation part.

    Attributes:
        predict: of the fit with these settings.
        settings: what was chosen.
        validation_nll: nats a flight, of standardised targets.
        seconds: that this fit took.
        tried: settings, validation NLL, and the reason where there is none.
    """

    predict: Predict
    settings: Settings
    validation_nll: float
    seconds: float
    tried: Sequence[tuple[Settings, float, str]]


def choose(
    method: Method, problem: Problem, x: Float[Tensor, "m 8"], y: Float[Tensor, " m"]
) -> Choice:
    """Fit with each candidate setting and keep the one of least NLL on the validation part.

    Args:
        method: what to fit.
        problem: training rows.
        x: features of the validation part, in the problem's units.
        y: its targets.

    Returns:
        The choice; the validation part is not fitted afterwards.

    Raises:
        ValueError: more candidates than others have, or none whose validation NLL is finite.
    """
    if not 1 <= len(method.candidates) <= MOST_CANDIDATES:
        raise ValueError(
            f"{method.name}: expected 1 to {MOST_CANDIDATES} candidate settings, as every method "
            f"has, got {len(method.candidates)}."
        )
    best: tuple[float, Predict, Settings, float] | None = None
    tried: list[tuple[Settings, float, str]] = []
    for settings in method.candidates:
        begin = time.perf_counter()
        try:
            predict = method.fit(problem, settings)
            seconds = time.perf_counter() - begin
            nll = float(predict(x).nll(y).mean())
        except FAILURES as error:
            tried.append((settings, math.inf, said(error)))
            continue
        tried.append((settings, nll, ""))
        if math.isfinite(nll) and (best is None or nll < best[0]):
            best = (nll, predict, settings, seconds)
    if best is None:
        raise ValueError(f"{method.name}: no candidate has a finite validation NLL: {tried}.")
    nll, predict, settings, seconds = best
    return Choice(
        predict=predict, settings=settings, validation_nll=nll, seconds=seconds, tried=tried
    )
