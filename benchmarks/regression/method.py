"""What a method of regression on tables is, and how its settings are chosen without test rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bayesnn import Predictive
from bayesnn.seeds import seeded_generator
from benchmarks.regression.densities import DENSITIES
from benchmarks.regression.units import fit_units

Settings: TypeAlias = Mapping[str, Any]

MOST_CANDIDATES = 6  # of every method alike
VALIDATION_SHARE = 0.2
PLACE = (0, 7)  # of the validation part's random stream


class Predict(Protocol):
    """From inputs to the distribution of their targets."""

    def __call__(self, X: Float[Tensor, "m d"], /) -> Predictive:
        """Return the distribution at each row; the noise stands apart in it.

        Where the members are kept in it, their mixture is a density that may be scored too.
        """


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A method that has seen its training rows.

    Attributes:
        predict: gives the distribution at new rows.
        facts: what is worth telling of the fit, such as the share of members that converged.
    """

    predict: Predict
    facts: Mapping[str, float] = field(default_factory=dict)


class Method(Protocol):
    """A method for regression on tables."""

    @property
    def name(self) -> str:
        """Return what tables call it."""

    @property
    def candidates(self) -> Sequence[Settings]:
        """Return the settings that it may choose from, `MOST_CANDIDATES` at most."""

    def fit(
        self, X: Float[Tensor, "n d"], y: Float[Tensor, " n"], *, settings: Settings, seed: int
    ) -> Fitted:
        """Fit to rows whose columns, and targets, have mean 0 and variance 1, in float64.

        Predictions take rows, and come, in these units: `fit_in_units` goes to them and back.
        """


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A method with the settings that did best on the validation part, fitted to all rows.

    Attributes:
        fitted: takes X and gives y in the units that were handed in.
        settings: what was chosen.
        density: name of that by which the method is scored, as it did best on the validation part.
        validation_nll: of the choice on the validation part, in nats a row; None where there was
            no choice.
        tried: settings, name of the density and validation NLL of all that was tried.
    """

    fitted: Fitted
    settings: Settings
    density: str
    validation_nll: float | None
    tried: Sequence[tuple[Settings, str, float]]


def choose(
    method: Method, X: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"], *, seed: int
) -> Choice:
    """Choose settings by the NLL of a validation part, then fit to all rows.

    A fifth of the rows is the validation part, the same for every method with this seed. With the
    settings one of `DENSITIES` is chosen. Where there is a single candidate nothing is chosen, and
    its density is that of moments.

    Args:
        method: what to fit.
        X: training rows, in any units.
        y: their targets.
        seed: of the split and of the fits.

    Returns:
        The choice, fitted to all rows.

    Raises:
        ValueError: more candidates than others have, or none whose validation NLL is finite.
    """
    if not 1 <= len(method.candidates) <= MOST_CANDIDATES:
        raise ValueError(
            f"{method.name}: expected 1 to {MOST_CANDIDATES} candidate settings, as every method "
            f"has, got {len(method.candidates)}."
        )
    tried: list[tuple[Settings, str, float]] = []
    if len(method.candidates) > 1:
        for settings in method.candidates:
            try:
                scores = validation_nlls(method, X, y, settings=settings, seed=seed)
            except torch.linalg.LinAlgError:  # a matrix that is not positive definite
                scores = {"moments": float("inf")}
            tried += [(settings, name, nll) for name, nll in scores.items()]
    else:
        tried.append((method.candidates[0], "moments", 0.0))
    finite = [one for one in tried if np.isfinite(one[2])]
    if not finite:
        raise ValueError(f"{method.name}: no candidate has a finite validation NLL: {tried}.")
    settings, name, nll = min(finite, key=lambda one: one[2])
    return Choice(
        fitted=fit_in_units(method, X, y, settings=settings, seed=seed),
        settings=settings,
        density=name,
        validation_nll=nll if len(method.candidates) > 1 else None,
        tried=tried,
    )


def validation_nlls(
    method: Method,
    X: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, " n"],
    *,
    settings: Settings,
    seed: int,
) -> dict[str, float]:
    """Return the validation part's NLL, in nats a row, by each density that the method has.

    Args:
        method: what to fit to the other rows.
        X: training rows; a fifth of them is the validation part.
        y: their targets.
        settings: one of the method's candidates.
        seed: of the split and of the fit.

    Returns:
        NLL by the density's name.
    """
    train, held_out = validation_split(len(X), seed=seed)
    truth = torch.as_tensor(y[held_out], dtype=torch.float64)
    fitted = fit_in_units(method, X[train], y[train], settings=settings, seed=seed)
    post = fitted.predict(torch.as_tensor(X[held_out], dtype=torch.float64))
    found = {name: density(post, truth) for name, density in DENSITIES.items()}
    return {name: -float(values.mean()) for name, values in found.items() if values is not None}


def fit_in_units(
    method: Method,
    X: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, " n"],
    *,
    settings: Settings,
    seed: int,
) -> Fitted:
    """Fit to rows standardised by themselves; predictions take and give the units handed in.

    Args:
        method: what to fit.
        X: training rows.
        y: their targets.
        settings: one of the method's candidates.
        seed: of all that is random.

    Returns:
        The fit, whose `predict` takes rows in X's units and returns y's.
    """
    inputs = torch.as_tensor(X, dtype=torch.float64)
    targets = torch.as_tensor(y, dtype=torch.float64)
    units = fit_units(inputs, targets)
    fitted = method.fit(units.inputs(inputs), units.targets(targets), settings=settings, seed=seed)

    def predict(rows: Float[Tensor, "m d"], /) -> Predictive:
        return units.restored(fitted.predict(units.inputs(rows.double())))

    return Fitted(predict=predict, facts=fitted.facts)


def validation_split(
    n: int, *, seed: int
) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " held_out"]]:
    """Return the rows to train on and those of the validation part, each ascending."""
    order = torch.randperm(n, generator=seeded_generator(seed, *PLACE)).numpy()
    size = max(1, round(VALIDATION_SHARE * n))
    return np.sort(order[size:]), np.sort(order[:size])
