"""Chunks of members become one ensemble, in whatever order they come."""

from __future__ import annotations

import itertools

import pytest
import torch

from ensembles.gathered import Gathered
from ensembles.member_training import Part
from ensembles.trainers.problem import Trained

MEMBERS = range(3, 9)
CHUNKS = (range(3, 5), range(5, 8), range(8, 9))
FAILED = 6


def _part(numbers: range) -> Part:
    values = torch.tensor([[float(i), 10.0 + i] for i in numbers])
    trained = Trained(
        params={"w": values, "b": values[:, 0]},
        converged=torch.tensor([i % 2 == 0 for i in numbers]),
        n_steps=numbers.start,
    )
    finite = torch.tensor([i != FAILED for i in numbers])
    return {"prior": {"w": -values}, "nothing": {}}, trained, finite


@pytest.mark.parametrize("order", [*itertools.permutations(CHUNKS), (MEMBERS,)])
@pytest.mark.filterwarnings("ignore:training. members .6. of 6 diverged")
def test_members_keep_their_places(order: tuple[range, ...]) -> None:
    gathered = Gathered(MEMBERS)
    for numbers in order:
        part = _part(numbers)
        gathered.take(numbers.start, part)
        assert not part[1].params  # the chunk's memory can go
    found = gathered.fitted()
    wanted = [i for i in MEMBERS if i != FAILED]
    assert found.members == tuple(wanted)
    assert found.converged == tuple(i % 2 == 0 for i in wanted)
    assert found.n_steps == (3 if order == (MEMBERS,) else 8)
    assert found.params["b"].tolist() == wanted
    assert found.params["w"].tolist() == [[i, 10 + i] for i in wanted]
    assert found.shift["nothing"] == {}
    assert torch.equal(found.shift["prior"]["w"], -found.params["w"])


def test_who_is_left_out_is_said() -> None:
    gathered = Gathered(range(6, 8))
    gathered.take(6, _part(range(6, 8)))
    with pytest.warns(RuntimeWarning, match=r"members \[6\] of 2 diverged"):
        assert gathered.fitted().members == (7,)
    alone = Gathered(range(6, 7))
    alone.take(6, _part(range(6, 7)))
    with pytest.raises(FloatingPointError, match="every member diverged"):
        alone.fitted()
