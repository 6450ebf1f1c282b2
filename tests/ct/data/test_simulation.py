"""Simulated sinograms: geometry, noise level, streams, units."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from pydicom.data import get_testdata_file

from ct.data.scan_input import open_scan
from ct.data.simulation import SimulateConfig, parallel_scan, simulate, simulate_file
from ct.geometry import ImageGrid
from ct.projectors.operator import projector


def test_scan_follows_the_convention() -> None:
    scan = parallel_scan(ImageGrid((30, 40), 0.5), views=8)
    assert scan.n_detectors == math.ceil(math.sqrt(2) * 40) + 1
    assert scan.angles == pytest.approx([k * math.pi / 8 for k in range(8)])
    assert (scan.detector_spacing, scan.center) == (0.5, (scan.n_detectors - 1) / 2)


@pytest.mark.parametrize("snr_db", [20.0, 40.0])
def test_noise_has_the_size_asked_for(snr_db: float) -> None:
    grid = ImageGrid((64, 64), 0.7)
    scan = parallel_scan(grid, views=60)
    operator = projector(grid, scan)
    image = np.random.default_rng(0).uniform(50, 90, size=(64, 64)).astype(np.float32)
    clean = operator(torch.from_numpy(image)).numpy()
    noisy, noise_std = simulate(image, operator, snr_db=snr_db, seed=1)
    assert noise_std**2 == pytest.approx(np.mean(clean**2.0) * 10 ** (-snr_db / 10), rel=1e-5)
    noise = noisy - clean
    assert noise.std() == pytest.approx(noise_std, rel=0.03)  # 5,580 draws: 1 % a deviation
    assert abs(noise.mean()) < 4 * noise_std / math.sqrt(noise.size)


def test_no_noise_on_request() -> None:
    grid = ImageGrid((8, 8))
    operator = projector(grid, parallel_scan(grid, views=3))
    image = np.ones((8, 8), np.float32)
    noisy, noise_std = simulate(image, operator, snr_db=math.inf)
    assert noise_std == 0
    np.testing.assert_array_equal(noisy, operator(torch.from_numpy(image)).numpy())
    with pytest.raises(ValueError, match="snr_db"):
        simulate(image, operator, snr_db=math.nan)


def test_every_slice_has_its_own_noise_whatever_the_stack(tmp_path: Path) -> None:
    np.save(tmp_path / "stack.npy", np.ones((3, 8, 8)))
    np.save(tmp_path / "pair.npy", np.ones((2, 8, 8)))
    for name in ("stack", "pair"):
        simulate_file(
            SimulateConfig(
                image=tmp_path / f"{name}.npy", output=tmp_path / f"{name}.h5", views=5, seed=7
            )
        )
    stack, pair = open_scan(tmp_path / "stack.h5"), open_scan(tmp_path / "pair.h5")
    np.testing.assert_array_equal(stack.read(1).values, pair.read(1).values)
    assert not np.array_equal(stack.read(0).values, stack.read(1).values)


def test_dicom_keeps_units_and_millimetres(tmp_path: Path) -> None:
    image = Path(str(get_testdata_file("CT_small.dcm", download=False)))
    simulate_file(SimulateConfig(image=image, output=tmp_path / "s.h5", views=4))
    opened = open_scan(tmp_path / "s.h5")
    grid, scan = opened.geometry()
    assert grid.pixel_size == scan.detector_spacing == pytest.approx(0.661468)
    assert (opened.file.units, opened.image_units) == ("HU·mm", "HU")
    assert opened.file.metadata["source"] == "CT_small.dcm"
    assert opened.file.metadata["snr_db"] == 40
    # the middle ray from below crosses the spine: its integral is mean HU times length
    values = opened.read(0).values
    from ct.data.images import read_image

    columns = read_image(image).read(0)[:, 63:65].mean(axis=1)
    middle = values[0, scan.n_detectors // 2]
    assert middle == pytest.approx(
        columns.sum() * grid.pixel_size, abs=4 * opened.file.noise_std[0]
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"geometry": "fan"}, "--geometry: expected parallel"),
        ({"views": 0}, "views"),
        ({"seed": -1}, "--seed"),
        ({"pixel_size": -1.0}, "--pixel-size"),
    ],
)
def test_impossible_settings_write_nothing(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    np.save(tmp_path / "a.npy", np.ones((4, 4)))
    settings = {"image": tmp_path / "a.npy", "output": tmp_path / "s.h5", **changes}
    with pytest.raises(ValueError, match=message):
        simulate_file(SimulateConfig(**settings))
    assert [p.name for p in tmp_path.iterdir()] == ["a.npy"]
