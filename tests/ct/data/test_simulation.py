"""Simulated sinograms: geometry, noise level, streams, units."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from pydicom.data import get_testdata_file

from ct.cli import run
from ct.data.images import read_image
from ct.data.phantoms import shepp_logan
from ct.data.scan_input import ScanInput, open_scan
from ct.data.simulate_config import SimulateConfig
from ct.data.simulated_scans import parallel_scan
from ct.data.simulation import simulate, simulate_file
from ct.geometry import FanBeam, ImageGrid
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
    columns = read_image(image).read(0)[:, 63:65].mean(axis=1)
    middle = values[0, scan.n_detectors // 2]
    assert middle == pytest.approx(
        columns.sum() * grid.pixel_size, abs=4 * opened.file.noise_std[0]
    )


def _simulated(folder: Path, **settings: Any) -> ScanInput:
    simulate_file(SimulateConfig(output=folder / "s.h5", **settings))
    return open_scan(folder / "s.h5")


def test_fan_over_an_arc(tmp_path: Path) -> None:
    image = np.random.default_rng(0).uniform(size=(12, 12)).astype(np.float32)
    np.save(tmp_path / "a.npy", image)
    opened = _simulated(
        tmp_path, image=tmp_path / "a.npy", geometry="fan", views=9, arc=90.0, snr_db=math.inf
    )
    grid, scan = opened.geometry()
    assert isinstance(scan, FanBeam)
    assert scan.angles == pytest.approx([k * math.pi / 18 for k in range(9)])
    expected = projector(grid, scan)(torch.from_numpy(image)).numpy()
    np.testing.assert_array_equal(opened.read(0).values, expected)
    assert opened.file.metadata["discretisation"] == "the reconstruction's own"


@pytest.mark.parametrize("same", [False, True])
def test_a_phantom_by_exact_line_integrals_or_by_its_pixels(tmp_path: Path, same: bool) -> None:
    opened = _simulated(
        tmp_path,
        phantom="shepp-logan",
        size=24,
        pixel_size=0.5,
        views=5,
        snr_db=math.inf,
        same_discretisation=same,
        truth=tmp_path / "truth.npy",
    )
    grid, scan = opened.geometry()
    assert grid == ImageGrid((24, 24), 0.5)
    truth = np.load(tmp_path / "truth.npy")
    phantom = shepp_logan(grid)
    np.testing.assert_allclose(truth, phantom.image(grid)[None], rtol=1e-6, atol=1e-7)
    pixels, exact = projector(grid, scan)(torch.from_numpy(truth[0])), phantom.sinogram(scan)
    np.testing.assert_allclose(
        opened.read(0).values, pixels if same else exact, rtol=1e-5, atol=1e-6
    )
    assert float((pixels - exact).norm()) > 0.03 * float(exact.norm())
    said = opened.file.metadata["discretisation"]
    assert said == ("the reconstruction's own" if same else "exact line integrals")


def test_random_phantoms_differ_from_slice_to_slice_and_by_seed(tmp_path: Path) -> None:
    truths = []
    for seed in (0, 1):
        settings = {"phantom": "random-shepp-logan", "size": 16, "n_phantoms": 2, "views": 3}
        truth = tmp_path / f"{seed}.npy"
        opened = _simulated(tmp_path, seed=seed, truth=truth, **settings)
        assert opened.file.shape == (2, 3, 24)
        truths.extend(np.load(truth))
    assert len({image.tobytes() for image in truths}) == 4


def test_divided_pixels_approach_line_integrals_through_squares(tmp_path: Path) -> None:
    image = np.zeros((6, 6), np.float32)
    image[2, 3] = 1.0
    np.save(tmp_path / "a.npy", image)
    # the ray at angle 0 and s runs up through the columns: 1 mm within [0, 1], else nothing
    sees = {}
    for k in (1, 16):
        opened = _simulated(
            tmp_path, image=tmp_path / "a.npy", views=1, snr_db=math.inf, oversample=k
        )
        s = opened.geometry()[1].detector_positions.numpy()
        sees[k] = dict(zip(s.tolist(), opened.read(0).values[0].tolist(), strict=True))
    assert [sees[1][s] for s in (-0.5, 0.5, 1.5)] == [0.0, 1.0, 0.0]
    wide = _simulated(
        tmp_path,
        image=tmp_path / "a.npy",
        views=1,
        snr_db=math.inf,
        oversample=16,
        samples_per_bin=8,
    )
    np.testing.assert_allclose(wide.read(0).values[0].sum(), 1.0, rtol=1e-5)
    assert wide.file.metadata["discretisation"] == "pixels divided by 16, bins by 8"
    assert sees[16][0.5] == pytest.approx(1.0, rel=1e-5)


def test_counts_are_poisson_and_reconstruct_as_attenuation(tmp_path: Path) -> None:
    settings = {"phantom": "shepp-logan", "size": 48, "views": 40, "attenuation": 0.02}
    exact = _simulated(tmp_path, snr_db=math.inf, **settings)
    clean = exact.read(0).values.astype(float)
    assert (exact.file.units, exact.image_units) == ("1", "1/mm")
    opened = _simulated(tmp_path, photons=5000.0, **settings)
    assert (opened.values, opened.values_from, opened.i0) == ("counts", "the file", 5000)
    counts = opened.file.read(0).astype(float)
    np.testing.assert_array_equal(counts, np.round(counts))
    scatter = (counts - 5000 * np.exp(-clean)) / np.sqrt(5000 * np.exp(-clean))
    assert abs(scatter.mean()) < 4 / math.sqrt(scatter.size)
    assert scatter.std() == pytest.approx(1, abs=0.05)  # 2,760 rays: 1.3 % a deviation
    measured = opened.read(0)
    assert measured.noise_std is not None
    assert ((measured.values - clean) / measured.noise_std).std() == pytest.approx(1, abs=0.05)
    assert opened.image_units == "1/mm"


def test_noise_after_the_logarithm_is_each_rays_own(tmp_path: Path) -> None:
    settings = {"phantom": "shepp-logan", "size": 48, "views": 40, "attenuation": 0.05}
    clean = _simulated(tmp_path, snr_db=math.inf, **settings).read(0).values
    opened = _simulated(tmp_path, photons=1000.0, post_log=True, **settings)
    measured = opened.read(0)
    assert opened.values == "line integrals"
    np.testing.assert_allclose(measured.noise_std, np.sqrt(np.exp(clean) / 1000), rtol=1e-5)
    scatter = (measured.values - clean) / measured.noise_std
    assert scatter.std() == pytest.approx(1, abs=0.05)


def test_hounsfield_units_become_attenuation(tmp_path: Path) -> None:
    image = Path(str(get_testdata_file("CT_small.dcm", download=False)))
    settings = {"image": image, "views": 3, "snr_db": math.inf}
    opened = _simulated(tmp_path, attenuation=0.02, truth=tmp_path / "t.npy", **settings)
    hounsfield = read_image(image).read(0)
    np.testing.assert_allclose(
        np.load(tmp_path / "t.npy")[0], 0.02 * (1 + hounsfield / 1000), rtol=1e-4, atol=1e-7
    )
    assert opened.image_units == "1/mm"
    with pytest.raises(ValueError, match=r"--photons.* in HU.*--attenuation"):
        _simulated(tmp_path, image=image, photons=1e5)


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"geometry": "cone"}, "--geometry: expected parallel or fan"),
    ({"views": 0}, "views"),
    ({"seed": -1}, "--seed"),
    ({"pixel_size": -1.0}, "--pixel-size"),
    ({"snr_db": math.nan}, "snr_db"),
    ({"arc": 0.0}, "arc"),
    ({"arc": 400.0}, "arc"),
    ({"source_origin": 9.0}, "--source-origin"),
    ({"geometry": "fan", "source_origin": 2.0}, "source_origin"),
    ({"geometry": "fan", "source_origin": 9.0, "source_detector": 8.0}, "source_detector"),
    ({"photons": 1e5}, "no unit.*--attenuation"),
    ({"photons": 0.0, "attenuation": 0.02}, "--photons"),
    ({"photons": 1e5, "attenuation": -0.02}, "--attenuation"),
    ({"post_log": True}, "--post-log"),
    ({"size": 8}, "--size"),
    ({"n_phantoms": 8}, "--phantoms"),
    ({"oversample": 0}, "--oversample"),
    ({"oversample": 2, "same_discretisation": True}, "contradict"),
    ({"samples_per_bin": 0}, "--samples-per-bin"),
    ({"phantom": "shepp-logan"}, "takes the place of IMAGE"),
    ({"image": None}, "IMAGE"),
    ({"image": None, "phantom": "head"}, "--phantom: expected shepp-logan"),
    ({"image": None, "phantom": "shepp-logan", "size": 0}, "--size"),
    ({"image": None, "phantom": "shepp-logan", "oversample": 2}, "--oversample"),
]


@pytest.mark.parametrize(("changes", "message"), IMPOSSIBLE)
def test_impossible_settings_write_nothing(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    np.save(tmp_path / "a.npy", np.ones((4, 4)))
    settings = {"image": tmp_path / "a.npy", "output": tmp_path / "s.h5", **changes}
    with pytest.raises(ValueError, match=message):
        simulate_file(SimulateConfig(**settings, truth=tmp_path / "t.npy"))
    assert [p.name for p in tmp_path.iterdir()] == ["a.npy"]


@pytest.mark.parametrize("truth", ["a.npy", "s.h5", "none/t.npy"])
def test_a_truth_that_cannot_be_written_writes_nothing(tmp_path: Path, truth: str) -> None:
    np.save(tmp_path / "a.npy", np.ones((4, 4)))
    before = (tmp_path / "a.npy").read_bytes()
    config = SimulateConfig(
        image=tmp_path / "a.npy", output=tmp_path / "s.h5", truth=tmp_path / truth
    )
    with pytest.raises(ValueError, match=r"truth|input|exist"):
        simulate_file(config)
    assert [p.name for p in tmp_path.iterdir()] == ["a.npy"]
    assert (tmp_path / "a.npy").read_bytes() == before


def test_the_shell_knows_phantoms_and_photons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = "--phantom shepp-logan --size 16 --views 6 --photons 1e4 --attenuation 0.02"
    files = f"-o {tmp_path}/s.h5 --truth {tmp_path}/t.npy"
    assert run(f"simulate {files} {settings} --geometry fan".split()) == 0
    assert run(f"reconstruct {tmp_path}/s.h5 -o {tmp_path}/r.h5 --method fbp".split()) == 0
    assert run(f"evaluate {tmp_path}/r.h5 --truth {tmp_path}/t.npy".split()) == 0
    capsys.readouterr()
    assert run(f"simulate {files} {settings} --snr-db 40".split()) == 2
    assert "--photons and --snr-db" in capsys.readouterr().err


def test_info_knows_each_rays_noise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = "--phantom shepp-logan --size 16 --views 6 --photons 1e4 --post-log"
    assert run(f"simulate -o {tmp_path}/s.h5 --attenuation 0.02 {settings}".split()) == 0
    capsys.readouterr()
    assert run(["info", f"{tmp_path}/s.h5", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["values"], said["image_units"]) == ("line integrals", "1/mm")
    assert said["median_noise_std"] == pytest.approx(0.01, rel=0.1)  # of 10,000 photons


def test_noise_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    with h5py.File(path, "w") as file:
        file["sinogram"], file["noise_std"] = np.ones((3, 5)), np.ones((3, 4))
    with pytest.raises(ValueError, match=r"noise_std: expected the sinogram's shape \[1, 3, 5\]"):
        open_scan(path)


def test_progress_counts_the_slices(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", np.ones((3, 8, 8)))
    seen: list[tuple[int, int]] = []
    simulate_file(
        SimulateConfig(image=tmp_path / "image.npy", output=tmp_path / "sino.h5", views=4),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
