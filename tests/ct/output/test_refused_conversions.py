"""Conversions that cannot be, or fail halfway, are one clear line and leave nothing."""

from __future__ import annotations

import errno
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import ct
from tests.ct.output.small_results import (
    VOLUMES,
    WHAT,
    listing,
    make,
)


def test_methods_without_uncertainty_have_a_mean_alone(tmp_path: Path) -> None:
    make(uncertain=False).save(tmp_path / "rec.h5")
    assert ct.convert(tmp_path / "rec.h5", tmp_path / "a.npy").description == "image, fbp"
    for what in WHAT[1:]:
        with pytest.raises(ValueError, match=r"fbp gives no uncertainty.*only --what mean"):
            ct.convert(tmp_path / "rec.h5", tmp_path / "b.npy", what=what)
    assert listing(tmp_path) == ["a.npy", "rec.h5"]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("out.jpg", {}, "expected a name that ends in .nii.gz"),
        (".nii", {}, "expected a name that ends in"),
        ("out.npy", {"what": "variance"}, "--what: expected mean, std"),
        ("out.npy", {"what": "lower", "level": 1.0}, "--level"),
        ("out.npy", {"slice_index": 3}, "--slice: expected a place from 0 to 2"),
        ("out.npy", {"slice_index": -1}, "--slice"),
        ("out.png", {}, "a PNG holds one slice, the result has 3; choose one with --slice"),
        ("out.png", {"slice_index": 0, "window": (1.0, 1.0)}, "--window: expected BLACK:WHITE"),
        ("out.png", {"slice_index": 0, "window": (0.0, math.nan)}, "--window"),
        ("out.tif", {"window": (0.0, 1.0)}, "--window: is for PNG"),
        ("none/out.npy", {}, "does not exist"),
        ("none/out.dcm", {}, "does not exist"),
        ("rec.h5", {}, "is the input"),
    ],
)
def test_impossible_conversions_are_one_line_and_leave_nothing(
    result: Path, name: str, settings: dict, message: str
) -> None:
    before = result.read_bytes()
    with pytest.raises(ValueError, match=message) as error:
        ct.convert(result, result.with_name("x").parent / name, **settings)
    assert "\n" not in str(error.value)
    assert listing(result.parent) == ["rec.h5"]
    assert result.read_bytes() == before


def test_a_folder_that_is_there_is_not_replaced(result: Path) -> None:
    result.with_name("out").mkdir()
    with pytest.raises(ValueError, match="exists already"):
        ct.convert(result, result.with_name("out.dcm"))
    assert listing(result.parent) == ["out", "rec.h5"]


@pytest.mark.parametrize("suffix", [*VOLUMES, "dcm"])
def test_what_fails_halfway_leaves_nothing(
    result: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, calls = ct.output.volume.Volume.read, []

    def full(volume: object, index: int) -> np.ndarray:
        calls.append(index)
        if len(calls) == (5 if suffix == "dcm" else 2):  # DICOM looks for the range first
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return read(volume, index)

    monkeypatch.setattr("ct.output.volume.Volume.read", full)
    output = result.with_name(f"out.{suffix}")
    with pytest.raises(ValueError, match=r"out.*cannot be written \(No space left"):
        ct.convert(result, output)
    assert listing(result.parent) == ["rec.h5"]


@pytest.mark.parametrize("suffix", ["nii", "tif", "npy", "h5", "dcm"])
def test_a_full_disk_is_found_before_work_starts(
    result: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ct.data.disk_room.shutil.disk_usage", lambda _: _Full())
    with pytest.raises(ValueError, match="the disk has 1e-08 GB free"):
        ct.convert(result, result.with_name(f"out.{suffix}"))
    assert listing(result.parent) == ["rec.h5"]


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    broken = make()
    broken.mean[1, 2, 3] = torch.nan
    broken.save(tmp_path / "rec.h5")
    with pytest.raises(ValueError, match="slice 1 holds NaN"):
        ct.convert(tmp_path / "rec.h5", tmp_path / "out.nii")
    assert listing(tmp_path) == ["rec.h5"]


class _Full:
    free = 10
