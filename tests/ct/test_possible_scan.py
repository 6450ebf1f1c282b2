"""Geometry that no scanner has: one clear error, at once, and no memory taken for it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ct
from ct.classical.filtered_backprojection import filtered_backprojection
from ct.cli import run
from ct.geometry import Scan
from ct.possible_scan import check_memory, check_possible
from tests.ct.workflow_runs import listing

ANGLES = tuple(k * math.pi / 8 for k in range(8))
FAN = {"source_origin": 60.0, "source_detector": 90.0}

IMPOSSIBLE_OPTIONS = {
    "--center 1e9": "--center: expected a detector index near the bins, which are 0 to 23",
    "--center -25": "--center: expected a detector index near the bins, which are 0 to 23, got -25",
    "--center 48": "for the middle (11.5)",
    "--center 47": "{0}/sino.h5: scan: expected rays through the image, got none",
    "--pixel-size 1e-9": "--pixel-size: expected a length between 1e-07 and 1e+07 mm, got 1e-09",
    "--pixel-size 1e9": "--pixel-size: expected a length",
    "--pixel-size 1e-320 --source-origin 60 --source-detector 90": "--pixel-size: expected a len",
    "--detector-spacing 1e-9": "--detector-spacing: expected a length",
    "--detector-spacing 1e9": "--detector-spacing: expected a length",
    "--detector-spacing 1e-4": "--detector-spacing: expected bins that cover 1/1000 to 1000 pixels",
    "--detector-spacing 1e4": "--detector-spacing: expected bins that cover 1/1000 to 1000 pixels",
    "--source-origin 1e300 --source-detector 1e300": "--source-origin: expected a length",
    "--source-origin 60 --source-detector 1e9": "--source-detector: expected a length",
    "--source-origin 1e-9 --source-detector 1": "--source-origin: expected a length",
    "--source-origin 5 --source-detector 9": "nearer to the axis than the source",
    "--image-size 1000000": "--image-size: expected at most 2147483647 pixels, got 1000000 × 1000",
    "--image-size 20000": "--image-size: expected an image that fits the memory (0.001 GB on cpu)",
    "--angles 0:180:1000000000000 --degrees": "--angles: N: expected at most 100000 views, got 1",
    "--angles 0:1e9:12": "--angles: expected radians",
    "--angles 0:1e9:12 --degrees": "--angles: expected degrees within ±720",
    "--angles 0:0:12": "expected views from several angles, found 12 from the same one",
}


@pytest.fixture
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ct.possible_scan._memory_of", lambda _: 10**6)


@pytest.mark.usefixtures("small_machine")
@pytest.mark.parametrize("options", IMPOSSIBLE_OPTIONS)
def test_impossible_geometry_is_one_line_and_leaves_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], options: str
) -> None:
    before = listing(folder)
    command = f"reconstruct {folder}/sino.h5 -o {folder}/b.h5 --method fbp --device cpu {options}"
    assert run(command.split()) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert IMPOSSIBLE_OPTIONS[options].replace("{0}", str(folder)) in said
    assert listing(folder) == before


IMPOSSIBLE_SIMULATIONS = {
    "--pixel-size 1e-9": "--pixel-size: expected a length",
    "--views 1000000000000": "--views: expected at most 100000 views",
    "--oversample 1000000": "--oversample: expected an image that fits the memory",
    "--samples-per-bin 1000000": "--samples-per-bin: expected an image that fits the memory",
    "--photons 1e19 --attenuation 0.02": "--photons: expected at most 1e+15 in an empty ray",
    "--geometry fan --source-origin 1e9": "--source-origin: expected a length",
}


@pytest.mark.usefixtures("small_machine")
@pytest.mark.parametrize("options", IMPOSSIBLE_SIMULATIONS)
def test_impossible_simulations_are_one_line_and_leave_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], options: str
) -> None:
    before = listing(folder)
    assert run(f"simulate {folder}/image.npy -o {folder}/b.h5 {options}".split()) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert IMPOSSIBLE_SIMULATIONS[options] in said
    assert listing(folder) == before


@pytest.mark.usefixtures("small_machine")
def test_a_phantom_larger_than_the_memory_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"simulate --phantom shepp-logan --size 50000 -o {tmp_path}/b.h5".split()) == 2
    assert "--size: expected an image that fits the memory" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("scan", "grid", "message"),
    [
        (ct.ParallelBeam(ANGLES, 12, center=1e9), ct.ImageGrid((8, 8)), "center: .* 0 to 11"),
        (ct.ParallelBeam(ANGLES, 12), ct.ImageGrid((8, 8), 1e9), "pixel_size: "),
        (ct.ParallelBeam(ANGLES, 12, 1e-9), ct.ImageGrid((8, 8)), "detector_spacing: .*length"),
        (ct.FanBeam(ANGLES, 12, 60.0, 1e9), ct.ImageGrid((8, 8)), "source_detector: "),
        (ct.ParallelBeam(ANGLES, 12), ct.ImageGrid((50_000, 50_000)), "image_size: "),
        (ct.FanBeam(ANGLES, 12, **FAN, source_offset=50.0), ct.ImageGrid((8, 8)), "scan: .*none"),
        (ct.FanBeam(ANGLES, 12, **FAN), ct.ImageGrid((200, 200)), "than the source"),
    ],
)
def test_the_library_refuses_them_too(scan: Scan, grid: ct.ImageGrid, message: str) -> None:
    sinogram = np.ones((8, 12))
    with pytest.raises(ValueError, match=message):
        ct.reconstruct(sinogram, scan, grid, method=ct.cgls(), noise_std=0.1)
    with pytest.raises(ValueError, match=message):
        filtered_backprojection(torch.from_numpy(sinogram), grid, scan)


def test_bins_are_judged_by_their_shadow_on_the_axis() -> None:
    grid = ct.ImageGrid((8, 8))
    magnified = ct.FanBeam(ANGLES, 12, 60.0, 600.0, detector_spacing=9000.0, center=6.0)
    check_possible(grid, magnified)
    with pytest.raises(ValueError, match="detector_spacing"):
        check_possible(grid, ct.ParallelBeam(ANGLES, 13, detector_spacing=9000.0))


def test_memory_is_counted_of_image_and_rays(monkeypatch: pytest.MonkeyPatch) -> None:
    grid, scan = ct.ImageGrid((30, 20)), ct.ParallelBeam(ANGLES, 50)
    needed = 2 * 4 * (30 * 20 + 8 * 50)
    cpu = torch.device("cpu")
    monkeypatch.setattr("ct.possible_scan._memory_of", lambda _: needed)
    check_memory(grid, scan, cpu)
    monkeypatch.setattr("ct.possible_scan._memory_of", lambda _: needed - 1)
    with pytest.raises(ValueError, match="30 × 20 pixels from 8 × 50 rays"):
        check_memory(grid, scan, cpu)
    with pytest.raises(ValueError, match="fits the memory"):
        ct.reconstruct(np.ones((8, 50)), scan, grid, method=ct.fbp(), noise_std=0.1)
    monkeypatch.setattr("ct.possible_scan._memory_of", lambda _: None)
    check_memory(grid, scan, cpu)


sizes = st.floats(1e-2, 1e2)


@given(
    fields=st.fixed_dictionaries({
        "n_detectors": st.integers(1, 40),
        "detector_spacing": sizes,
        "center": st.floats(-60, 100),
    }),
    fan=st.none() | st.fixed_dictionaries({"source_offset": st.floats(-30, 30)}),
    pixel_size=sizes,
)
def test_what_is_not_refused_can_be_reconstructed(
    fields: dict[str, Any], fan: dict[str, Any] | None, pixel_size: float
) -> None:
    grid = ct.ImageGrid((6, 5), pixel_size)
    far = {"source_origin": 50.0, "source_detector": 80.0}
    scan = ct.ParallelBeam(ANGLES, **fields)
    if fan is not None:
        scan = ct.FanBeam(ANGLES, **fields, **far, **fan)
    try:
        check_possible(grid, scan)
    except ValueError:
        return
    rays = torch.ones(8, fields["n_detectors"], dtype=torch.float64)
    assert filtered_backprojection(rays, grid, scan).isfinite().all()
