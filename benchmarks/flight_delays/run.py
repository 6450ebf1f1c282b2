"""One method on one number of training rows: choose settings, predict, keep the scores."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import KDTree

from bayesnn.files import atomic_write
from benchmarks.comparison.cells import Cell, Record
from benchmarks.flight_delays.kept_priors import kept_prior
from benchmarks.flight_delays.method import Budget, Method, Problem, choose
from benchmarks.flight_delays.noise import PRIORS
from benchmarks.flight_delays.prior import Prior, fit_prior
from benchmarks.flight_delays.scores import Scores, flight_scores
from benchmarks.flight_delays.split import Split, plan_for, split_flights
from benchmarks.flight_delays.table import Flights
from benchmarks.regression.units import Units, fit_units


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What one number of training rows is run with.

    Attributes:
        rows: training rows.
        most: rows of the validation part and of each test part.
        budget: of every method.
        seed: of the split and of the methods.
    """

    rows: int
    most: int
    budget: Budget
    seed: int

    def name_for(self, method: Method) -> str:
        """Return what kept results are found by: everything that they depend on but code."""
        spent = (f"{name} {getattr(self.budget, name)}" for name in method.spends)
        tried = hashlib.sha256(repr(tuple(map(dict, method.candidates))).encode()).hexdigest()[:8]
        return f"{self.rows} rows; most {self.most}, {', '.join(spent)}; candidates {tried}"

    @property
    def prior_name(self) -> str:
        """What a kept prior is found by."""
        budget = self.budget
        return f"{self.rows} rows; {budget.prior_rows}, depth {budget.depth}, seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Flights, their parts, and the training rows in the units that networks see.

    Attributes:
        flights: all flights.
        setting: what is run.
        priors_file: JSON file in which chosen priors are kept; None for none.
    """

    flights: Flights
    setting: Setting
    priors_file: Path | None = None

    @cached_property
    def split(self) -> Split:
        """The parts."""
        s = self.setting
        return split_flights(self.flights, plan_for(s.rows), rows=s.rows, most=s.most, seed=s.seed)

    @cached_property
    def units(self) -> Units:
        """Units in which the training rows have mean 0 and variance 1."""
        return fit_units(self.features(self.split.train), self.outcomes(self.split.train))

    @cached_property
    def x(self) -> torch.Tensor:
        """The training rows' features, standardised."""
        return self.units.inputs(self.features(self.split.train))

    @cached_property
    def y(self) -> torch.Tensor:
        """The training rows' outcomes, standardised."""
        return self.units.targets(self.outcomes(self.split.train))

    @cached_property
    def priors(self) -> Mapping[str, Prior]:
        """The priors that the training rows' marginal likelihood chooses."""
        found = kept_prior(self.priors_file, self.setting.prior_name, self._likeliest)
        return dict(zip(PRIORS, (found, found.smaller()), strict=True))

    def _likeliest(self) -> Prior:
        s, budget = self.setting, self.setting.budget
        return fit_prior(
            self.x, self.y, depth=budget.depth, rows=budget.prior_rows, device=budget.device,
            seed=s.seed,
        )  # fmt: skip

    def problem(self, method: Method) -> Problem:
        """Return what a method is given: priors where it needs them."""
        s = self.setting
        priors = self.priors if needs_priors(method) else {}
        return Problem(x=self.x, y=self.y, priors=priors, budget=s.budget, seed=s.seed)

    def features(self, rows: np.ndarray) -> torch.Tensor:
        """Return features of flights as they are."""
        return torch.from_numpy(self.flights.X[rows])

    def outcomes(self, rows: np.ndarray) -> torch.Tensor:
        """Return delays in minutes."""
        return torch.from_numpy(self.flights.y[rows])

    def distances(self) -> Mapping[str, np.ndarray]:
        """Return each test flight's distance from the nearest training row, standardised."""
        tree = KDTree(self.x.numpy())
        return {
            part: tree.query(self.units.inputs(self.features(rows)).numpy())[0]
            for part, rows in self.split.tests.items()
        }


def needs_priors(method: Method) -> bool:
    """Return whether a method's prior is chosen by the marginal likelihood."""
    return "prior_rows" in method.spends


def run_cell(cell: Cell, *, data: Prepared, methods: Mapping[str, Method], folder: Path) -> Record:
    """Fit one method and keep the scores of all test flights beside the record.

    Args:
        cell: name of the setting, seed and method.
        data: flights and training rows.
        methods: by name.
        folder: where scores are kept.

    Returns:
        The choice, in words, and where the scores are.
    """
    units, validation, device = data.units, data.split.validation, data.setting.budget.device
    choice = choose(
        methods[cell.method],
        data.problem(methods[cell.method]),
        units.inputs(data.features(validation)),
        units.targets(data.outcomes(validation)),
    )
    scale = float(units.y_scale)
    for part, rows in data.split.tests.items():
        mixture = choice.predict(units.inputs(data.features(rows)))
        mixture = mixture.in_units(float(units.y_mean), scale).to(device)
        keep(folder, cell, part, flight_scores(mixture, data.outcomes(rows).to(device)))
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "settings": dict(choice.settings),
        "validation_nll": choice.validation_nll + float(np.log(scale)),
        "fit_seconds": choice.seconds,
        "tried": [[dict(settings), nll, why] for settings, nll, why in choice.tried],
    }


def keep(folder: Path, cell: Cell, part: str, scores: Scores) -> None:
    """Write the scores of one part, in single precision: they are many."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(_file(folder, cell, part)) as temporary, temporary.open("wb") as file:
        np.savez(file, **{name: values.astype(np.float32) for name, values in scores.items()})


def kept(folder: Path, cell: Cell, part: str) -> Scores:
    """Return the scores of one part."""
    with np.load(_file(folder, cell, part)) as file:
        return {name: file[name].astype(np.float64) for name in file.files}


def all_kept(folder: Path, cell: Cell, parts: list[str]) -> bool:
    """Return whether the scores of all parts are there."""
    return all(_file(folder, cell, part).is_file() for part in parts)


def _file(folder: Path, cell: Cell, part: str) -> Path:
    digest = hashlib.sha256(repr((*cell, part)).encode()).hexdigest()[:16]
    return folder / f"{digest}.npz"
