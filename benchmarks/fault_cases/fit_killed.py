"""Kill −9 of fits, and of processes that save ensembles."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.fault_cases.case import FaultCase, Outcome
from ensembles import EnsembleRegressor
from tests.ensembles.checkpointed import X
from tests.faults.children import ran, started
from tests.faults.kept_fits import bits_of_a_fit, fit_killed_in, kept_fit
from tests.faults.kept_saves import fitted, save_forever
from tests.faults.whole_files import assert_checkpoint_is_whole


@cache
def undisturbed() -> tuple[str, float]:
    """Return the bits of a fit that nothing befell, and its seconds in a child."""
    with_checkpoint = min((ran(_fit_somewhere) for _ in range(3)), key=lambda one: one[1])
    assert with_checkpoint[0] == bits_of_a_fit()
    return with_checkpoint


def killed_at_a_moment(number: int, folder: Path) -> Outcome:
    """Kill a fit at a random moment, and what goes on from there in half of the cases too."""
    bits, seconds = undisturbed()
    rng = random.Random(number)
    struck = False
    for _ in range(rng.choice([1, 2])):
        child = started(kept_fit, folder)
        time.sleep(rng.random() * seconds)
        struck = child.kill() or struck
        assert_checkpoint_is_whole(folder)
    found = ran(kept_fit, folder)[0]
    return Outcome(struck=struck, survived=_only_members(folder), equal=found == bits)


def killed_in_an_operation(number: int, folder: Path) -> Outcome:
    """Kill a fit in its file operation of that number, half a file written if it is writing."""
    child = started(fit_killed_in, folder / "fit", number + 1)
    child.process.join(60)
    assert_checkpoint_is_whole(folder / "fit")
    found = ran(kept_fit, folder / "fit")[0]
    return Outcome(
        struck=child.process.exitcode == -9,
        survived=_only_members(folder / "fit"),
        equal=found == undisturbed()[0],
    )


def killed_while_saving(number: int, folder: Path) -> Outcome:
    """Kill a process that replaces a saved ensemble: the old or the new one is there."""
    path = folder / "model.ens"
    child = started(save_forever, path)
    assert child.said() == "saving"
    time.sleep(0.05 * random.Random(number).random())
    struck = child.kill()
    found = EnsembleRegressor.load(path).predict(X)
    others = [one.name for one in folder.iterdir() if one != path]
    return Outcome(
        struck=struck,
        survived=all(name.startswith(".") for name in others),
        equal=any(np.array_equal(found, fitted(seed).predict(X)) for seed in (1, 2)),
    )


CASES = (
    FaultCase(
        name="fit: kill −9 at a random moment", tries=100, quick=2, attempt=killed_at_a_moment
    ),
    FaultCase(
        name="fit: kill −9 in each of the first 60 file operations, files half-written",
        tries=60, quick=2, attempt=killed_in_an_operation,
    ),
    FaultCase(
        name="save: kill −9 at a random moment", tries=40, quick=2, attempt=killed_while_saving
    ),
)  # fmt: skip


def _fit_somewhere(say: Callable[[object], None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        kept_fit(say, Path(folder))


def _only_members(folder: Path) -> bool:
    found = sorted(path.name for path in folder.iterdir())
    return found == [".lock", *(f"members-{which}.safetensors" for which in ("0-1", "2-3", "4-4"))]
