"""Laws of executors on every device: the same numbers, whoever works, and whatever befalls them.

On a CPU tests of each package check the same laws in less time, so these are slow there.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from bayesnn.executors import local_executor
from bayesnn.executors.local import KeptWorkers
from ct.reconstruct_config import ReconstructConfig
from ct.workflow import reconstruct_file
from ensembles import (
    EnsembleRegressor,
    adam,
    deep_ensemble,
    gauss_newton,
    ntkgp_fn,
    ntkgp_lin,
    ntkgp_param,
)
from ensembles.checkpoint import checkpoint_at
from ensembles.methods.protocol import Method
from ensembles.progress import Progress
from ensembles.trainers.problem import Trainer
from tests.ct.workflow_runs import TINY
from tests.ensembles.executor_cases import assert_same, classifier, data, regressor
from tests.faults.kept_reconstructions import scan_of_slices

X, Y = data()
TRAINERS = {"adam": adam(steps=30, batch_size=20), "gauss-newton": gauss_newton()}
METHODS = {
    "deep": deep_ensemble(),
    "ntkgp_param": ntkgp_param(),
    "ntkgp_fn": ntkgp_fn(),
    "ntkgp_lin": ntkgp_lin(),
}
RECONSTRUCTIONS: dict[str, dict[str, object]] = {
    "fbp": {"method": "fbp"},
    "cgls": {"method": "cgls"},
    "mc-dropout": {"method": "mc-dropout", "settings": {**TINY, "steps": 5}},
    "jackknife": {"method": "jackknife"},
}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("cpu", marks=pytest.mark.slow),
        pytest.param("cuda", marks=pytest.mark.gpu),
    ],
)
def device(request: pytest.FixtureRequest) -> str:
    """A device, by its full name where there may be several."""
    return "cuda:0" if request.param == "cuda" else "cpu"


@pytest.fixture(scope="module")
def one(device: str) -> Iterator[KeptWorkers]:
    """One worker with the device to itself."""
    with local_executor([device], threads=1, silence=120.0).kept() as kept:
        yield kept


@pytest.fixture(scope="module")
def two(device: str) -> Iterator[KeptWorkers]:
    """Two workers: of two GPUs where there are two, or sharing the device."""
    several = device != "cpu" and torch.cuda.device_count() > 1
    devices = ["cuda:0", "cuda:1"] if several else [device] * 2
    with local_executor(devices, threads=1, silence=120.0).kept() as kept:
        yield kept


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As many threads as a worker has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("trainer", TRAINERS.values(), ids=TRAINERS)
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_members_of_one_worker_are_those_of_none_bit_for_bit(
    one: KeptWorkers, device: str, trainer: Trainer, method: Method
) -> None:
    model = {"trainer": trainer, "method": method, "device": device}
    wanted = regressor(**model).fit(X, Y)
    found = regressor(**model, executor=one).fit(X, Y)
    assert_same(found, wanted, relative=0.0)
    assert all(value.device == torch.device(device) for value in found.params_.values())
    np.testing.assert_array_equal(found.predict(X), wanted.predict(X))


@pytest.mark.parametrize("trainer", TRAINERS.values(), ids=TRAINERS)
def test_members_of_two_workers_differ_by_rounding(
    two: KeptWorkers, device: str, trainer: Trainer
) -> None:
    wanted = regressor(trainer=trainer, device=device).fit(X, Y)
    assert_same(regressor(trainer=trainer, device=device, executor=two).fit(X, Y), wanted)


def test_a_classifier_is_the_same(two: KeptWorkers, device: str) -> None:
    wanted = classifier(device=device).fit(X, Y > 0)
    found = classifier(device=device, executor=two).fit(X, Y > 0)
    assert_same(found, wanted)
    np.testing.assert_allclose(found.predict_proba(X), wanted.predict_proba(X), rtol=1e-8)


def test_workers_that_are_killed_cost_nothing(
    two: KeptWorkers, device: str, tmp_path: Path
) -> None:
    killed: list[int] = []

    def kill(progress: Progress) -> None:
        if progress.step > 5 and not killed:
            killed.extend(two.pids)
            for pid in killed:  # all of them at once
                os.kill(pid, signal.SIGKILL)

    steps = 300 if device == "cpu" else 30_000  # seconds of either
    long = {"trainer": adam(steps=steps, batch_size=20), "device": device, "executor": two}
    wanted = regressor(**long).fit(X, Y)
    kept = checkpoint_at(tmp_path / "fit", seconds=0.05)
    found = regressor(**long).fit(X, Y, callback=kill, checkpoint=kept)
    assert len(killed) == 2
    assert_same(found, wanted, relative=0.0)


@pytest.mark.parametrize("workers", ["none", "two"])
def test_an_interrupted_fit_goes_on_to_the_same_bits(
    two: KeptWorkers, device: str, workers: str, tmp_path: Path
) -> None:
    def press(progress: Progress) -> None:
        if progress.step > 20:
            raise KeyboardInterrupt

    trainer = adam(steps=400, batch_size=20)
    model = {"trainer": trainer, "device": device, "executor": two if workers == "two" else None}
    kept = checkpoint_at(tmp_path / "fit", seconds=1e-9)
    with pytest.raises(KeyboardInterrupt):
        regressor(**model).fit(X, Y, callback=press, checkpoint=kept)
    found = regressor(**model).fit(X, Y, checkpoint=kept)
    assert_same(found, regressor(**model).fit(X, Y), relative=0.0)


@pytest.mark.parametrize("method", RECONSTRUCTIONS)
def test_slices_are_the_same_bit_for_bit(
    two: KeptWorkers, device: str, method: str, tmp_path: Path
) -> None:
    scan = scan_of_slices(tmp_path, n_slices=2)
    for name, executor in (("here.h5", None), ("there.h5", two)):
        asked = {"sinogram": scan, "output": tmp_path / name, "device": device, "seed": 1}
        reconstruct_file(ReconstructConfig(**asked, executor=executor, **RECONSTRUCTIONS[method]))  # type: ignore[arg-type]
    with h5py.File(tmp_path / "here.h5") as here, h5py.File(tmp_path / "there.h5") as there:
        assert here.keys() == there.keys()
        for name in here:
            np.testing.assert_array_equal(here[name][()], there[name][()], err_msg=name)
        assert here.attrs.keys() == there.attrs.keys()


def test_every_device_of_the_kind_works_unasked(device: str) -> None:
    if device == "cpu":
        pytest.skip("cores are counted by the tests of local_executor")
    executor = local_executor()
    assert executor.device_type == "cuda"
    assert executor.n_workers() == torch.cuda.device_count()
    model: EnsembleRegressor = regressor(device="cuda", executor=executor).fit(X, Y)
    assert_same(model, regressor(device="cuda").fit(X, Y))
