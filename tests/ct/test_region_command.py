"""A region's mean from files is what the result itself gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bayesnn.seeds import seeded_generator
from ct.cli import run
from ct.geometry import ImageGrid, ParallelBeam
from ct.result import Reconstruction


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("region") / "rec.h5"
    samples = 5 + torch.randn(3, 9, 6, 8, generator=seeded_generator(0))
    Reconstruction(
        mean=samples.mean(1),
        std=samples.std(1),
        samples=samples,
        metadata={"method": "mc-dropout", "units": "HU", "n_samples": 9, "slices": [4, 5, 6]},
        grid=ImageGrid((6, 8)),
        scan=ParallelBeam((0.0, 1.0), 11),
    ).save(path)
    return path


def test_one_mask_is_the_region_of_every_slice(
    stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = np.zeros((6, 8))
    mask[2:4, 1:5] = 255
    np.save(tmp_path / "mask.npy", mask)
    files = ["region", str(stored), "--mask", str(tmp_path / "mask.npy")]
    assert run([*files, "--level", "0.5", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    found = Reconstruction.load(stored).region(mask > 0)
    lower, upper = found.interval(0.5)
    for name, values in (("mean", found.mean), ("std", found.std), ("upper", upper)):
        np.testing.assert_allclose(said[name], values.numpy(), rtol=1e-6)
    np.testing.assert_allclose(said["lower"], lower.numpy(), rtol=1e-6)
    assert (said["n_pixels"], said["n_samples"], said["slices"]) == (8, 9, [4, 5, 6])
    assert run(files) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"slice 4: {float(found.mean[0]):.6g} HU, 95 % interval ")
    assert lines[-1] == "8 pixels, 9 joint samples"


def test_a_stack_of_masks_is_one_region_through_all_slices(
    stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = np.zeros((3, 6, 8))
    mask[1, 2:4, 1:5], mask[2, 0, 0] = 1, 1
    np.save(tmp_path / "mask.npy", mask)
    assert run(["region", str(stored), "--mask", str(tmp_path / "mask.npy"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    found = Reconstruction.load(stored).region(mask > 0)
    assert said["mean"] == [pytest.approx(float(found.mean))]
    assert said["std"] == [pytest.approx(float(found.std))]
    assert said["n_pixels"] == 9


@pytest.mark.parametrize(
    ("mask", "named"),
    [
        (np.ones((6, 9)), "expected a mask of 6×8 pixels, in one slice or in 3, got 6×9 in 1"),
        (np.ones((2, 6, 8)), "got 6×8 in 2"),
        (np.zeros((6, 8)), "at least one pixel"),
        (np.zeros((3, 6, 8)), "at least one pixel"),
    ],
)
def test_masks_that_do_not_fit_are_one_line(
    stored: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    mask: np.ndarray,
    named: str,
) -> None:
    np.save(tmp_path / "mask.npy", mask)
    assert run(["region", str(stored), "--mask", str(tmp_path / "mask.npy")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line
