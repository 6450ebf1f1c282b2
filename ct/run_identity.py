"""What a run's numbers depend on, so that only the same work goes on with it."""

from __future__ import annotations

from pathlib import Path

import torch

from ct.data.digest import content_digest
from ct.data.scan_input import ScanInput
from ct.data.simulation import versions
from ct.geometry_json import geometry_to_json
from ct.reconstruct_config import ReconstructConfig
from ct.result_metadata import Metadata
from ct.slices import SliceSolver


def work_of(
    config: ReconstructConfig, source: ScanInput, solver: SliceSolver, indices: list[int]
) -> Metadata:
    """Return all that the numbers depend on, as JSON can hold it.

    Where they are computed, by one process or by many, is no part of it; the kind of device is.

    Args:
        config: what was asked for.
        source: the scan.
        solver: what all slices share.
        indices: numbers of the slices.
    """
    return {
        "sinogram": content_digest(config.sinogram),
        "geometry": geometry_to_json(*source.geometry()),
        "values": source.values,
        "scan": {name: _told(value) for name, value in vars(config.scan).items()},
        "method": solver.method.name,
        "settings": {**solver.method.settings(), "at once": solver.chunk_length(torch.float32)},
        "noise_std": config.noise_std,
        "remove_stripes": config.remove_stripes,
        "mu_water": config.mu_water,
        "samples": solver.keep_samples,
        "memory_budget": config.memory_budget,
        "seed": config.seed,
        "slices": [indices[0], indices[-1] + 1],
        "device": solver.device.type,
        "versions": versions(),
    }


def _told(value: object) -> str:
    """Return what an option says; of a file (or FILE::DATASET) what is in it."""
    name, _, dataset = str(value).partition("::")
    known = isinstance(value, str | Path) and Path(name).exists()
    return f"{content_digest(name)}::{dataset}" if known else str(value)
