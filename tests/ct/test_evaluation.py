"""Scores against closed forms and other libraries; nothing is fitted to the truth."""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from pydicom.data import get_testdata_file
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from bayesnn.calibration import crps_gaussian, ece_floor, nll_gaussian
from bayesnn.seeds import seeded_generator
from ct.commands.score_table import score_tables
from ct.evaluation import Evaluation, evaluate, evaluate_file
from ct.geometry import ImageGrid, ParallelBeam
from ct.result import Reconstruction
from ct.score_regions import score_regions
from ct.slice_scores import SliceScores, score_image

SCAN = ParallelBeam((0.0, 1.0), 5)


def result(mean: Tensor, std: Tensor | None, *, n_samples: int = 1000) -> Reconstruction:
    metadata = {
        "method": "mc-dropout",
        "units": "HU",
        "n_samples": None if std is None else n_samples,
        "slices": list(range(len(mean))) if mean.ndim == 3 else [0],
    }
    grid = ImageGrid((mean.shape[-2], mean.shape[-1]))
    return Reconstruction(mean=mean, std=std, samples=None, metadata=metadata, grid=grid, scan=SCAN)


def gaussian(*shape: int, place: int) -> Tensor:
    return torch.randn(shape, generator=seeded_generator(0, place), dtype=torch.float64)


def test_accuracy_agrees_with_scikit_image_on_the_clipped_image() -> None:
    truth = torch.rand((32, 24), generator=seeded_generator(1), dtype=torch.float64) * 50 - 10
    mean = truth + 8 * gaussian(32, 24, place=1)
    scores = score_image(mean, truth)
    span = float(truth.max() - truth.min())
    clipped = mean.clamp(truth.min(), truth.max()).numpy()
    low = float(truth.min())
    assert scores.psnr == pytest.approx(
        peak_signal_noise_ratio(truth.numpy(), clipped, data_range=span)
    )
    assert scores.ssim == pytest.approx(
        structural_similarity(truth.numpy() - low, clipped - low, data_range=span)
    )
    assert scores.uncertainty is None


def test_error_bars_of_the_right_size_score_as_they_should() -> None:
    std = torch.rand((200, 200), generator=seeded_generator(2), dtype=torch.float64) * 4 + 1
    mean = 100 * gaussian(200, 200, place=3)
    truth = mean + std * gaussian(200, 200, place=4)
    scores = evaluate(result(mean, std), truth).mean.uncertainty
    assert scores is not None
    assert scores.ece < 0.005
    for level in scores.levels:
        # 40,000 independent pixels: a binomial's standard deviation is at most 0.0025
        assert level.coverage == pytest.approx(level.level, abs=0.01)
    z95 = 1.959964
    assert scores.levels[2].width == pytest.approx(2 * z95 * float(std.mean()), rel=0.01)
    # the mean of ½ log 2πe σ², less the logarithm of the range
    span = float(truth.max() - truth.min())
    entropy = float((0.5 * (2 * math.pi * math.e * std.square()).log()).mean())
    assert scores.nll == pytest.approx(entropy - math.log(span), abs=0.02)
    assert scores.crps == pytest.approx(float(std.mean()) / math.sqrt(math.pi), rel=0.02)
    assert scores.rms_std == pytest.approx(scores.rmse, rel=0.02)
    # the baseline knows as much in all, but not where
    assert scores.constant_nll > scores.nll
    assert scores.constant_crps > scores.crps
    assert scores.levels[2].constant_width == pytest.approx(2 * z95 * scores.rms_std, rel=1e-3)


def disc_with_edges() -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    inside = (rows - 32).square() + (columns - 32).square() <= 20**2
    return torch.where(inside, 10.0, 0.0).double()


def test_each_region_is_scored_over_its_own_pixels() -> None:
    truth = disc_with_edges()
    masks = score_regions(truth)
    std = torch.where(masks["body"], 2.0, 1.0).double()
    mean = truth + std * gaussian(64, 64, place=20)
    mean = torch.where(masks["edges"], truth + 8 * gaussian(64, 64, place=21), mean)
    scores = evaluate(result(mean, std), truth).mean
    assert scores.regions.keys() == {"body", "edges"}
    for name, region in scores.regions.items():
        mask = masks[name]
        assert region.share == pytest.approx(float(mask.double().mean()))
        assert region.rmse == pytest.approx(float((mean - truth)[mask].square().mean().sqrt()))
        clipped = (mean.clamp(0, 10) - truth)[mask].square().mean()
        assert region.psnr == pytest.approx(10 * math.log10(100 / float(clipped)))
        assert region.uncertainty is not None
        # what a slice of these pixels alone scores, with the range of the whole
        chosen = (truth[mask], mean[mask], std[mask])
        assert region.uncertainty.crps == pytest.approx(float(crps_gaussian(*chosen)))
        nll = float(nll_gaussian(*chosen)) - math.log(10)
        assert region.uncertainty.nll == pytest.approx(nll)
        constant = chosen[2].square().mean().sqrt()
        gain = float(nll_gaussian(*chosen[:2], constant)) - math.log(10) - nll
        assert region.uncertainty.nll_gain == pytest.approx(gain, abs=1e-9)
    edges = scores.regions["edges"].uncertainty
    assert edges is not None
    assert edges.levels[2].coverage < 0.5
    assert scores.uncertainty is not None
    assert scores.uncertainty.levels[2].coverage > 0.75


def test_published_calibration_error_of_exact_samples_is_its_floor() -> None:
    truth = disc_with_edges()
    mean = truth + gaussian(64, 64, place=22)
    samples = mean + gaussian(20, 64, 64, place=23)
    one = dataclasses.replace(
        result(samples.mean(0), samples.std(0), n_samples=20), samples=samples
    )
    scores = evaluate(one, truth).mean
    assert scores.uncertainty is not None
    assert scores.uncertainty.sample_ece_floor == ece_floor(20)
    assert scores.uncertainty.sample_ece == pytest.approx(ece_floor(20), rel=0.2)
    assert scores.uncertainty.ece < 0.01  # Student's t knows that there are 20
    lacking = evaluate(dataclasses.replace(one, samples=None), truth).mean.uncertainty
    assert lacking is not None
    assert lacking.sample_ece is None
    assert lacking.sample_ece_floor is None


def test_the_worst_slices_are_named() -> None:
    truth = disc_with_edges().expand(3, 64, 64)
    noise = gaussian(3, 64, 64, place=24)
    noise[1] *= 3  # the worst image, its error bars being right
    std = torch.ones(3, 64, 64, dtype=torch.float64)
    std[1], std[2] = 3, 0.5
    found = evaluate(result(truth + noise, std), truth)
    assert found.worst() == {"psnr": 1, "ece": 2, "ece, body": 2, "ece, edges": 2}
    assert found.to_dict()["worst"] == found.worst()
    shown = [list(table.columns[0].cells) for table in score_tables(found)]
    assert shown[2] == [
        "whole image",
        "  worst slice (2)",
        "inside the body",
        "  worst slice (2)",
        "within 3 pixels of an edge",
        "  worst slice (2)",
    ]
    without = evaluate(result(truth + noise, None), truth)
    assert without.worst() == {"psnr": 1}
    assert without.mean.regions["body"].uncertainty is None


def test_few_samples_give_wider_intervals() -> None:
    mean, std = gaussian(8, 8, place=5), torch.ones(8, 8, dtype=torch.float64)
    truth = mean + gaussian(8, 8, place=6)
    few = evaluate(result(mean, std, n_samples=3), truth).mean.uncertainty
    many = evaluate(result(mean, std), truth).mean.uncertainty
    assert few is not None
    assert many is not None
    assert few.levels[2].width > 2 * many.levels[2].width


def test_scores_do_not_depend_on_units() -> None:
    mean, std = gaussian(16, 16, place=7), torch.full((16, 16), 0.5, dtype=torch.float64)
    truth = mean + 0.5 * gaussian(16, 16, place=8)
    one = evaluate(result(mean, std), truth).mean
    other = evaluate(result(1000 * mean + 7, 1000 * std), 1000 * truth + 7).mean
    assert one.uncertainty is not None
    assert other.uncertainty is not None
    assert other.psnr == pytest.approx(one.psnr)
    assert other.ssim == pytest.approx(one.ssim)
    assert other.uncertainty.nll == pytest.approx(one.uncertainty.nll)
    assert other.uncertainty.crps == pytest.approx(1000 * one.uncertainty.crps)


def test_a_stack_is_scored_slice_by_slice() -> None:
    mean, std = gaussian(3, 16, 16, place=9), torch.rand(3, 16, 16, dtype=torch.float64) + 0.5
    truth = mean + gaussian(3, 16, 16, place=10)
    together = evaluate(result(mean, std), truth)
    alone = [evaluate(result(mean[i], std[i]), truth[i]).mean for i in range(3)]
    assert list(together.slices) == alone
    assert together.mean.psnr == pytest.approx(np.mean([s.psnr for s in alone]))
    assert together.mean.uncertainty is not None
    widths = [s.uncertainty.levels[1].width for s in alone if s.uncertainty is not None]
    assert together.mean.uncertainty.levels[1].width == pytest.approx(np.mean(widths))


def test_certainty_that_is_wrong_has_no_finite_density() -> None:
    mean, std = gaussian(8, 8, place=11), torch.ones(8, 8, dtype=torch.float64)
    std[0, 0] = 0
    scores = evaluate(result(mean, std), mean + 1).mean.uncertainty
    assert scores is not None
    assert scores.nll == math.inf
    assert math.isfinite(scores.crps)


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (torch.ones(8, 9), r"shape \[1, 8, 8\] .* got \[1, 8, 9\]"),
        (torch.ones(2, 8, 8), r"got \[2, 8, 8\]"),
        (torch.full((8, 8), math.nan), "finite"),
        (torch.ones(8, 8), "one value"),
    ],
)
def test_truth_that_does_not_fit_is_refused(truth: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(result(gaussian(8, 8, place=12), None), truth)


def test_nan_in_the_result_is_refused() -> None:
    mean = gaussian(8, 8, place=13)
    broken = dataclasses.replace(result(mean, None), mean=torch.full((8, 8), math.nan))
    with pytest.raises(ValueError, match="mean: expected finite"):
        evaluate(broken, mean)


def test_part_of_a_stack_is_compared_with_its_own_slices(tmp_path: Path) -> None:
    truth = gaussian(4, 8, 8, place=14)
    np.save(tmp_path / "truth.npy", truth.numpy())
    part = result(truth[1:3].clone(), None)
    part.metadata["slices"] = [1, 2]
    part.save(tmp_path / "rec.h5")
    scores = evaluate_file(tmp_path / "rec.h5", tmp_path / "truth.npy")
    assert len(scores.slices) == 2
    assert scores.mean.psnr > 100  # float32 on the way
    assert scores.units == "HU"


@pytest.mark.parametrize("suffix", ["npy", "tif"])
def test_files_are_scored_slice_by_slice_as_in_memory(tmp_path: Path, suffix: str) -> None:
    truth = gaussian(3, 16, 16, place=15)
    whole = result(truth + gaussian(3, 16, 16, place=16), torch.ones(3, 16, 16))
    whole.save(tmp_path / "rec.h5")
    path = tmp_path / f"truth.{suffix}"
    single = truth.float().numpy()
    if suffix == "npy":
        np.save(path, single)
    else:
        tifffile.imwrite(path, single, photometric="minisblack")
    calls: list[tuple[int, int]] = []
    found = evaluate_file(tmp_path / "rec.h5", path, progress=lambda *call: calls.append(call))
    assert found == evaluate(whole, single)
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_one_slice_at_a_time_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = gaussian(3, 8, 8, place=17)
    np.save(tmp_path / "truth.npy", truth.numpy())
    result(truth, None).save(tmp_path / "rec.h5")
    monkeypatch.setattr(Reconstruction, "load", None)
    assert len(evaluate_file(tmp_path / "rec.h5", tmp_path / "truth.npy").slices) == 3


def test_hounsfield_units_are_not_compared_with_attenuation(tmp_path: Path) -> None:
    truth = tmp_path / "CT.dcm"
    shutil.copy(str(get_testdata_file("CT_small.dcm", download=False)), truth)
    image = torch.zeros(1, 128, 128)
    for units, fits in (("1/mm", False), ("HU", True), ("", True)):
        one = result(image, None)
        one.metadata["units"] = units
        one.save(tmp_path / "rec.h5")
        if fits:
            assert math.isfinite(evaluate_file(tmp_path / "rec.h5", truth).mean.psnr)
            continue
        with pytest.raises(ValueError, match="expected the reconstruction's units, 1/mm, got HU"):
            evaluate_file(tmp_path / "rec.h5", truth)


def test_many_slices_are_summarised_in_the_table() -> None:
    scores = [SliceScores(psnr=float((7 * index) % 20), ssim=0.5) for index in range(20)]
    many = Evaluation(mean=scores[0], slices=tuple(scores))
    (table,) = score_tables(many)
    names = list(table.columns[0].cells)
    assert names == [
        "reconstruction, worst of 20 (slice 0)",
        "reconstruction, median of 20 (slice 10)",
        "reconstruction, best of 20 (slice 17)",
        "reconstruction, mean",
    ]
    few = Evaluation(mean=scores[0], slices=tuple(scores[:3]))
    assert len(list(score_tables(few)[0].columns[0].cells)) == 4
