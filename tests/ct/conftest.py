"""Scans that several tests run from file to file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ct.data.simulation import SimulateConfig, simulate_file
from ct.workflow import reconstruct_file
from tests.ct.workflow_runs import fbp_config

N_LONG = 40


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan of four slices."""
    folder = tmp_path_factory.mktemp("stack")
    np.save(folder / "image.npy", np.random.default_rng(0).uniform(1, 2, size=(4, 16, 16)))
    simulate_file(SimulateConfig(image=folder / "image.npy", output=folder / "sino.h5", views=12))
    return folder / "sino.h5"


@pytest.fixture(scope="session")
def long_stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan of forty slices; beside it `whole.h5`, what filtered back-projection gives."""
    folder = tmp_path_factory.mktemp("long")
    image = np.random.default_rng(0).uniform(1, 2, size=(N_LONG, 32, 32))
    np.save(folder / "image.npy", image)
    simulate_file(SimulateConfig(image=folder / "image.npy", output=folder / "sino.h5", views=60))
    reconstruct_file(fbp_config(folder / "sino.h5", folder / "whole.h5"))
    return folder / "sino.h5"
