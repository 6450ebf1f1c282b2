"""The figure: scales that can be read against one another, and nothing global touched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import io

from ct.figure import Panel, check_figure, reconstruction_panels, save_figure, slice_panels
from ct.geometry import FanBeam, ImageGrid, ParallelBeam
from ct.result import Reconstruction


def panels() -> dict[str, Panel]:
    draw = np.random.default_rng(0)
    truth = draw.normal(size=(6, 8)).astype(np.float32)
    made = reconstruction_panels(
        sinogram=draw.normal(size=(3, 11)).astype(np.float32),
        truth=truth,
        baseline=3 * truth,
        mean=truth + 1,
        std=np.full((6, 8), 0.5, np.float32),
        grid=ImageGrid((6, 8), 0.5),
        scan=ParallelBeam((0.0, 1.0, 2.0), 11, 0.5),
        units="HU",
        titles=("baseline", "mean"),
    )
    return {panel.title.split(":")[0]: panel for panel in made}


def test_pictures_that_are_compared_share_their_scale() -> None:
    made = panels()
    truth = made["truth"].values
    for name in ("truth", "baseline", "mean"):
        assert made[name].limits == (truth.min(), truth.max())
        assert made[name].extent == (-2.0, 2.0, -1.5, 1.5)
    assert made["how sure"].limits == made["how wrong"].limits
    np.testing.assert_allclose(made["how wrong"].values, 1, rtol=1e-6)
    assert {panel.label for panel in made.values()} == {"HU", "HU·mm"}


@pytest.mark.parametrize(("uncertain", "n_panels"), [(True, 5), (False, 3)])
def test_without_a_truth_there_are_measurement_image_rest_and_spread(
    tmp_path: Path, uncertain: bool, n_panels: int
) -> None:
    draw = np.random.default_rng(0)
    std = torch.from_numpy(draw.uniform(1, 2, size=(6, 8))).float()
    one = Reconstruction(
        mean=torch.from_numpy(draw.normal(size=(6, 8))).float(),
        std=std if uncertain else None,
        samples=None,
        metadata={"units": "1/mm", "n_samples": 1000 if uncertain else None},
        grid=ImageGrid((6, 8), 0.5),
        scan=FanBeam((0.0, 1.0, 2.0), 11, source_origin=100, source_detector=200),
    )
    residual = draw.normal(size=(3, 11)).astype(np.float32)
    made = slice_panels(
        one=one,
        sinogram=draw.normal(size=(3, 11)).astype(np.float32),
        residual=residual,
        sinogram_units="",
        title="slice 3: fbp",
    )
    assert len(made) == n_panels
    assert [panel.label for panel in made[:2]] == ["line integral", "1/mm"]
    np.testing.assert_array_equal(made[2].values, residual)
    assert made[2].limits[0] == -made[2].limits[1]
    if uncertain:
        spread, width = made[3:]
        assert spread.limits[0] == width.limits[0] == 0
        np.testing.assert_allclose(width.values, 2 * 1.96 * std.numpy(), rtol=0.01)
    save_figure(tmp_path / "figure.png", made)
    assert io.imread(tmp_path / "figure.png").shape[:2] == (
        (1020, 1710) if uncertain else (510, 1710)
    )


@pytest.mark.parametrize("name", ["figure", "figure.h5"])
def test_names_that_say_no_format_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"ending in \.png"):
        check_figure(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_picture_is_written_whole(tmp_path: Path) -> None:
    save_figure(tmp_path / "figure.png", list(panels().values()))
    picture = io.imread(tmp_path / "figure.png")
    assert picture.shape[0] > 800
    assert picture.shape[1] > 1400
    assert picture[..., :3].std() > 20
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]


def test_no_global_state_of_matplotlib_is_touched() -> None:
    code = (
        "import sys; from tests.ct.test_figure import panels; from ct.figure import _draw;"
        "assert 'matplotlib' not in sys.modules;"
        "_draw(list(panels().values())); sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    folder = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=folder).returncode == 0
