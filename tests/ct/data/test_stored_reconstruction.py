"""Large results, read slice by slice."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch

import ct
from ct.result import Reconstruction
from tests.ct.output.small_results import make


@pytest.fixture
def path(tmp_path: Path) -> Path:
    make(4).save(tmp_path / "rec.h5")
    return tmp_path / "rec.h5"


def test_slices_are_those_of_the_whole(path: Path) -> None:
    whole = Reconstruction.load(path)
    with ct.open_reconstruction(path) as stored:
        assert len(stored) == 4
        assert (stored.grid, stored.scan, stored.metadata) == (
            whole.grid,
            whole.scan,
            whole.metadata,
        )
        assert stored.names == ("mean", "std")
        for index in range(4):
            one, wanted = stored.read(index), whole.single(index)
            assert torch.equal(one.mean, wanted.mean)
            assert torch.equal(one.std, wanted.std)
            assert one.metadata == wanted.metadata


@pytest.mark.parametrize("slices", [range(1, 3), [2], (3, 0)])
def test_some_slices_are_loaded_as_a_stack(path: Path, slices: range) -> None:
    whole, part = Reconstruction.load(path), Reconstruction.load(path, slices=slices)
    assert torch.equal(part.mean, whole.mean[list(slices)])
    assert torch.equal(part.std, whole.std[list(slices)])
    assert part.metadata["slices"] == [whole.metadata["slices"][index] for index in slices]


@pytest.mark.parametrize("slices", [[4], [-1], [], range(3, 5)])
def test_slices_that_are_not_there_are_refused(path: Path, slices: list[int]) -> None:
    with pytest.raises(ValueError, match="expected slices from 0 to 3"):
        Reconstruction.load(path, slices=slices)
    with ct.open_reconstruction(path) as stored, pytest.raises(ValueError, match="from 0 to 3"):
        stored.read(4)


def test_samples_are_left_on_disk_where_nobody_asks(tmp_path: Path) -> None:
    grid, scan = ct.ImageGrid((3, 3)), ct.ParallelBeam([0.0], 3)
    samples = torch.randn(2, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    Reconstruction(
        mean=samples.mean(1),
        std=samples.std(1),
        samples=samples,
        metadata={"n_samples": 5},
        grid=grid,
        scan=scan,
    ).save(tmp_path / "rec.h5")
    with ct.open_reconstruction(tmp_path / "rec.h5") as stored:
        assert stored.read(1, samples=False).samples is None
        assert torch.equal(stored.read(1).samples, samples[1])


def test_what_goes_wrong_in_the_block_is_not_the_files_fault(path: Path) -> None:
    # a full disk while a result is copied must not be told as a damaged result
    with (
        pytest.raises(OSError, match="No space") as error,
        ct.open_reconstruction(path),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "damaged" not in str(error.value)
