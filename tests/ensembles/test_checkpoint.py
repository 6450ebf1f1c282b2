"""Fits that were interrupted go on bit for bit; checkpoints that do not belong are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ensembles import adam, checkpoint_at, deep_ensemble, early_stopping, ntkgp_param, sgd
from ensembles.digest import digest
from ensembles.losses import SquaredError
from ensembles.progress import Progress
from tests.ensembles.checkpointed import (
    InterruptionError,
    X,
    Y,
    assert_same,
    fit,
    interrupt_at,
    network,
)

TRAINERS = {
    "adam": adam(steps=20, batch_size=5),
    "sgd": sgd(learning_rate=0.05, steps=20),
    "held out": adam(steps=20, early_stopping=early_stopping(every=3, patience=99)),
}
each_trainer = pytest.mark.parametrize("trainer", TRAINERS.values(), ids=TRAINERS.keys())


@each_trainer
@pytest.mark.parametrize("place", [(0, 11), (2, 1), (4, 20)], ids=str)
def test_an_interrupted_fit_goes_on_bit_for_bit(
    trainer: Any, place: tuple[int, int], tmp_path: Path
) -> None:
    expected = fit(trainer=trainer)
    where = checkpoint_at(tmp_path / "fit", seconds=1e-9)
    with pytest.raises(InterruptionError):
        fit(trainer=trainer, checkpoint=where, callback=interrupt_at(*place))
    told: list[Progress] = []
    assert_same(fit(trainer=trainer, checkpoint=where, callback=told.append), expected)
    if told:  # it goes on where it was left, not before
        first = place[0] // 2 * 2
        assert (told[0].members[0], told[0].step) >= (first, 2)


def test_a_finished_fit_is_read(tmp_path: Path) -> None:
    expected = fit(checkpoint=tmp_path)
    told: list[Progress] = []
    assert_same(fit(checkpoint=tmp_path, callback=told.append), expected)
    assert told == []


@pytest.mark.parametrize("missing", [("0-1", "2-3"), ("2-3",), ("0-1", "4-4")])
def test_members_that_are_missing_are_trained_in_the_chunks_they_were_in(
    missing: tuple[str, ...], tmp_path: Path
) -> None:
    """The last chunk is a shorter one, and says nothing of the others."""
    expected = fit(checkpoint=tmp_path)
    for which in missing:
        (tmp_path / f"members-{which}.safetensors").unlink()
    assert_same(fit(checkpoint=tmp_path), expected)


@pytest.fixture(autouse=True)
def _every_step_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long saving takes on a busy machine, which would put off the next time."""
    monkeypatch.setattr("ensembles.open_checkpoint.SHARE", 1e9)


OTHER = {
    "network": {"network": network(width=9)},
    "X": {"x": X + 1},
    "y": {"y": Y + 1},
    "sample weights": {"row_weight": torch.ones(12, dtype=torch.float64)},
    "method": {"method": deep_ensemble()},
    "trainer": {"trainer": adam(steps=21)},
    "loss": {"loss": SquaredError(noise_std=torch.tensor([0.3]))},
    "number of members": {"n_members": 6},
    "seed": {"seed": 2},
}


@pytest.mark.parametrize("name", OTHER)
@pytest.mark.parametrize("finished", [True, False])
def test_a_checkpoint_of_another_fit_is_refused_by_name(
    name: str, finished: bool, tmp_path: Path
) -> None:
    where = checkpoint_at(tmp_path, seconds=1e-9)
    if finished:
        fit(checkpoint=where)
    else:
        with pytest.raises(InterruptionError):
            fit(checkpoint=where, callback=interrupt_at(0, 5))
    with pytest.raises(ValueError, match=f"fit with other {name}( \\(.*\\))?; delete"):
        fit(checkpoint=where, **OTHER[name])


def test_an_empty_path_is_refused() -> None:
    with pytest.raises(ValueError, match="checkpoint: expected a folder or an address, got an"):
        fit(checkpoint="")


def test_settings_that_differ_are_named_as_they_are_typed(tmp_path: Path) -> None:
    fit(checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"other loss \(noise_std, likelihood\); delete"):
        fit(checkpoint=tmp_path, **OTHER["loss"])
    with pytest.raises(ValueError, match=r"other seed \(random_state\); delete"):
        fit(checkpoint=tmp_path, **OTHER["seed"])


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(ValueError, match="cannot be made a folder"):
        fit(checkpoint=path)


def test_digests_tell_settings_apart_and_repeat() -> None:
    def schedule(progress: float) -> float:
        return progress

    values = [
        torch.zeros(3), torch.zeros(3).double(), torch.zeros(1, 3), -torch.zeros(3), None, 0, False,
        "0", [0], {"a": 0}, {"b": 0}, adam(), adam(schedule=schedule), adam(steps=1),
        sgd(learning_rate=1.0), ntkgp_param(), deep_ensemble(), torch.float32,
    ]  # fmt: skip
    digests = [digest(value) for value in values]
    assert len(set(digests)) == len(values)
    assert digest(adam(schedule=schedule)) == digest(adam(schedule=schedule))
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
