"""Fixtures for all tests, and run-time checks of every shape in a signature."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from jaxtyping import config, install_import_hook

if "PYTEST_XDIST_WORKER" in os.environ:
    # workers share the cores: threads of their own would wait for one another
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start
    torch.set_num_threads(1)

# A GPU machine may lack beartype; shapes were then checked on the CPU.
if importlib.util.find_spec("beartype") is not None:
    importlib.import_module("tests.typecheck")
    install_import_hook(["bayesnn", "ensembles", "ct"], "tests.typecheck.typechecker")

settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """Every device that a contract must hold on; the GPU with `-m gpu`."""
    return str(request.param)


@pytest.fixture
def as_users_run() -> Iterator[None]:
    """Signatures unchecked, as outside the tests: for errors that values of wrong types get."""
    config.update("jaxtyping_disable", value=True)
    yield
    config.update("jaxtyping_disable", value=False)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets that are not shipped (for tests marked `data`)."""
    folder = os.environ.get("BAYESNN_DATA", "")
    if not Path(folder).is_dir() or not folder:
        pytest.skip("BAYESNN_DATA names no folder: the real data sets are not here")
    return Path(folder)
