"""The demonstration: its files, its scores, and in full its figures of merit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage import io

from ct.cli import run
from ct.commands.score_table import remarks
from ct.data.scan_input import open_scan
from ct.demo import DemoConfig, run_demo
from ct.evaluation import Evaluation
from ct.result import Reconstruction
from ct.slice_scores import SliceScores
from ct.uncertainty_scores import LevelScores, UncertaintyScores

QUICK = {"n_folds": 3, "mean.steps": 2, "mean.stride": 6, "mean.reach": 4}


def test_demo_writes_what_it_says(tmp_path: Path) -> None:
    result = run_demo(DemoConfig(folder=tmp_path / "new" / "demo", settings=QUICK, device="cpu"))
    scan = open_scan(result.sinogram)
    assert scan.file.shape == (1, 60, 183)
    assert scan.image_units == "HU"
    values = scan.read(0).values
    assert scan.file.noise_std is not None
    assert scan.file.noise_std[0] == pytest.approx(np.sqrt(np.mean(values**2.0)) * 0.01, rel=0.01)
    reconstruction = Reconstruction.load(result.reconstruction)
    assert reconstruction.mean.shape == (1, 128, 128)
    assert reconstruction.metadata["units"] == "HU"
    assert reconstruction.metadata["noise_std_source"] == "estimated"
    assert io.imread(result.figure).shape[1] > 1400
    assert result.evaluation.mean.uncertainty is not None
    # two windows, both better than nothing: filtered back-projection is not made to look bad
    assert len(result.baselines) == 2
    assert all(scores.mean.psnr > 34 for scores in result.baselines.values())
    assert sorted(path.name for path in result.figure.parent.iterdir()) == [
        "figure.png",
        "reconstruction.h5",
        "sinogram.h5",
    ]


def scores(coverage: float, *, crps: float = 1.0) -> Evaluation:
    level = LevelScores(
        level=0.9, coverage=coverage, width=1.0, constant_coverage=0.9, constant_width=1.0
    )
    uncertainty = UncertaintyScores(
        nll=-1.0,
        crps=crps,
        ece=0.1,
        rms_std=1.0,
        rmse=2.0,
        constant_nll=0.0,
        constant_crps=1.5,
        nll_gain=1.0,
        levels=(level,),
    )
    one = SliceScores(psnr=30.0, ssim=0.9, uncertainty=uncertainty)
    return Evaluation(mean=one, slices=(one,))


def test_bad_calibration_is_said_plainly() -> None:
    narrow = " ".join(remarks(scores(0.6)))
    assert "Badly calibrated: the 90 % intervals hold 60.0 % of the pixels" in narrow
    assert "too narrow" in narrow
    assert "2.00 times the standard deviation" in narrow
    assert "too wide" in " ".join(remarks(scores(0.99)))
    good = " ".join(remarks(scores(0.9)))
    assert "Badly" not in good
    assert "know where the errors are" in good
    assert "do not beat one constant width" in " ".join(remarks(scores(0.9, crps=2.0)))


@pytest.mark.slow
def test_the_demo_beats_filtered_backprojection(tmp_path: Path) -> None:
    result = run_demo(DemoConfig(folder=tmp_path, device="cpu"))
    best = max(scores.mean.psnr for scores in result.baselines.values())
    # total variation with the weight that the truth likes best gains 4.3 dB
    assert result.evaluation.mean.psnr > best + 4.2
    uncertainty = result.evaluation.mean.uncertainty
    assert uncertainty is not None
    assert uncertainty.nll < uncertainty.constant_nll
    assert uncertainty.crps < uncertainty.constant_crps
    # too wide on this slice, and the demo says so; too narrow would be worse
    assert all(level.coverage > level.level - 0.02 for level in uncertainty.levels)


@pytest.mark.slow
def test_the_demo_command_prints_its_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["demo", "--out", str(tmp_path), "--device", "cpu"]) == 0
    printed = capsys.readouterr()
    for text in ("PSNR", "SSIM", "NLL", "95 % interval", "back-projection", "figure.png"):
        assert text in printed.out
    assert printed.err == ""
