"""Scans that several tests run from file to file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ct.cli import run
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


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an image of two slices, its sinogram, a configuration and a result."""
    settings = {"mean": "fbp", "n_folds": 3, "n_samples": 2}
    folder = tmp_path_factory.mktemp("prepared")
    image = np.random.default_rng(0).uniform(1, 2, size=(2, 16, 16))
    np.save(folder / "image.npy", image)
    (folder / "tiny.json").write_text(json.dumps({"settings": settings, "device": "cpu"}))
    arguments = f"simulate {folder}/image.npy -o {folder}/sino.h5 --views 12 --seed 1"
    assert run(arguments.split()) == 0
    arguments = f"reconstruct {folder}/sino.h5 -o {folder}/rec.h5 --config {folder}/tiny.json"
    assert run(arguments.split()) == 0
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    """A fresh copy of what was prepared."""
    return Path(shutil.copytree(prepared, tmp_path / "folder"))
