"""Scores by region: they are the package's own, scikit-image's, and those of closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from skimage.metrics import structural_similarity

import ct
from benchmarks.reconstruction.scores import (
    Scores,
    published_nll,
    similarity_map,
    slice_scores,
)
from ct.evaluation import evaluate
from ct.score_regions import score_regions

SIDE = 40
GRID = ct.ImageGrid((SIDE, SIDE))
SCAN = ct.ParallelBeam([0.0, 1.0], n_detectors=8)


def image(seed: int) -> torch.Tensor:
    """Return a disc of texture in air, from 0 to about 3."""
    rows = torch.arange(SIDE) - SIDE / 2
    disc = (rows[:, None].square() + rows.square() < 200).double()
    generator = torch.Generator().manual_seed(seed)
    texture = torch.rand((SIDE, SIDE), generator=generator, dtype=torch.float64)
    return 3 * disc * (0.8 + 0.2 * texture)


def result(truth: torch.Tensor, *, n_samples: int = 50, spread: float = 0.2) -> ct.Reconstruction:
    """Return exact posterior samples: the truth is one more of them."""
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn((n_samples + 1, *truth.shape), generator=generator, dtype=torch.float64)
    samples = truth + spread * (noise[1:] - noise[0])
    return ct.Reconstruction(
        mean=samples.mean(0),
        std=samples.std(0),
        samples=samples,
        metadata={"method": "exact", "n_samples": n_samples},
        grid=GRID,
        scan=SCAN,
    )


def scored(found: ct.Reconstruction, truth: torch.Tensor) -> dict[str, Scores]:
    return slice_scores(found, truth, score_regions(truth))


def test_all_pixels_score_as_the_package_says() -> None:
    truth = image(0)
    found = scored(result(truth), truth)["all"]
    package = evaluate(result(truth), truth).mean
    own = package.uncertainty
    assert own is not None
    scale = float(truth.max())  # the least value is 0
    assert found["psnr"] == pytest.approx(package.psnr)
    assert found["ssim"] == pytest.approx(package.ssim)
    assert found["crps"] == pytest.approx(own.crps / scale)
    assert found["ece"] == pytest.approx(own.ece)
    assert found["nll"] == pytest.approx(own.nll, abs=1e-2)  # but for the published 1e-6
    assert found["const_nll"] == pytest.approx(own.constant_nll, abs=1e-2)
    mse = found["rmse"] ** 2
    assert found["best_const_nll"] == pytest.approx(0.5 * math.log(2 * math.pi * mse) + 0.5, 1e-3)
    assert found["best_const_nll"] <= found["const_nll"]
    for level in own.levels:
        name = f"{100 * level.level:.0f}"
        assert found["cover" + name] == pytest.approx(level.coverage)
        assert found["width" + name] == pytest.approx(level.width / scale)
        assert found["const_cover" + name] == pytest.approx(level.constant_coverage)
    for name, region in package.regions.items():
        assert scored(result(truth), truth)[name]["psnr"] == pytest.approx(region.psnr)


def test_regions_part_what_happens_there() -> None:
    truth = image(0)
    inside = truth > 0
    good = result(truth)
    wrong = ct.Reconstruction(
        mean=torch.where(inside, good.mean, truth),  # the air is known exactly
        std=good.std,
        samples=None,
        metadata=good.metadata,
        grid=GRID,
        scan=SCAN,
    )
    found = scored(wrong, truth)
    share = found["body"]["share"]
    assert share == pytest.approx(float(inside.double().mean()), abs=0.01)
    assert found["body"]["rmse"] * math.sqrt(share) == pytest.approx(found["all"]["rmse"])
    assert found["all"]["psnr"] == pytest.approx(
        found["body"]["psnr"] - 10 * math.log10(share), abs=0.05
    )
    assert "sample_ece" not in found["all"]


def test_similarity_is_that_of_scikit_image() -> None:
    truth = image(0) + 5
    other = truth + 0.3 * torch.sin(torch.arange(SIDE).double())
    whole, there = structural_similarity(other.numpy(), truth.numpy(), data_range=3.0, full=True)
    ours = similarity_map(other, truth, 3.0)
    assert torch.allclose(ours, torch.from_numpy(there)[3:-3, 3:-3], atol=1e-10)
    assert float(ours.mean()) == pytest.approx(whole)


def test_exact_samples_score_the_floor_by_quantiles_and_nothing_by_student() -> None:
    truth = image(1)
    found = scored(result(truth, n_samples=10), truth)["all"]
    assert found["ece_floor"] == pytest.approx(0.95 / 11)
    assert found["sample_ece"] == pytest.approx(found["ece_floor"], rel=0.15)
    assert found["ece"] < 0.015
    assert found["cover95"] == pytest.approx(0.95, abs=0.02)


def test_published_likelihood_has_its_closed_form() -> None:
    ones = torch.ones(3, dtype=torch.float64)
    found = published_nll(2 * ones, 4 * ones, 5 * ones)
    assert found == pytest.approx(0.5 * math.log(8 * math.pi) + 9 / 8, abs=1e-5)
    # where nothing varies, 1e-6 is all that is left of both
    assert published_nll(ones, 0 * ones, ones) == pytest.approx(
        0.5 * math.log(2 * math.pi * 1e-6) + 0.5
    )
