"""Priors in a file: their choice by marginal likelihood may take longer than a training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from benchmarks.flight_delays.prior import Prior
from benchmarks.record_file import read_records, write_records


def kept_prior(file: Path | None, name: str, choose: Callable[[], Prior]) -> Prior:
    """Return the prior that the file has by a name; else choose it, and add it to the file."""
    records = [] if file is None else read_records(file)
    for record in records:
        if record["name"] == name:
            found = {key: value for key, value in record.items() if key != "name"}
            return Prior(**found | {"input_scales": tuple(record["input_scales"])})
    chosen = choose()
    if file is not None:
        write_records(file, [*records, {"name": name, **dataclasses.asdict(chosen)}])
    return chosen
