import dataclasses
import math

import pytest
import torch

import ct
from ct.lesion_scores import score_lesions
from ct.lesion_study import (
    Observation,
    observe_lesions,
    place_lesions,
    with_lesions,
)
from ct.result import Reconstruction
from ct.score_regions import body_mask

SIDE = 80
N_SAMPLES = 40
RADII = (2.0, 4.0)
CONTRASTS = (0.02, 0.1)


def _body() -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    return (torch.hypot(y - 39.0, x - 41.0) < 37).double()


def _field(n: int, generator: torch.Generator) -> torch.Tensor:
    """Correlated Gaussian images."""
    white = torch.randn(n, 1, SIDE + 4, SIDE + 4, generator=generator).double()
    return 5 * torch.nn.functional.avg_pool2d(white, 5, stride=1)[:, 0]


def _result(samples: torch.Tensor | None, mean: torch.Tensor) -> Reconstruction:
    return Reconstruction(
        mean=mean,
        std=None if samples is None else samples.std(0),
        samples=samples,
        metadata={"method": "known", "n_samples": None if samples is None else len(samples)},
        grid=ct.ImageGrid((SIDE, SIDE)),
        scan=ct.ParallelBeam([0.0], n_detectors=4),
    )


def _observations(
    *,
    strength: float = 1.0,
    shrink: float = 1.0,
    noise: float = 0.05,
    width: float = 1.0,
    n_slices: int = 8,
) -> list[Observation]:
    """Estimates whose errors have the distribution of the samples around them.

    Args:
        strength: factor on the discs' contrasts.
        shrink: what is left of a disc in the posterior's mean.
        noise: standard deviation of the errors.
        width: the samples' spread over that.
        n_slices: independent slices.
    """
    found = []
    for index in range(n_slices):
        generator = torch.Generator().manual_seed(index)
        lesions = [
            dataclasses.replace(one, contrast=strength * one.contrast)
            for one in place_lesions(
                _body(), radii=RADII, contrasts=CONTRASTS, n_each=2, n_empty=3, index=index
            )
        ]
        centre = with_lesions(_body(), lesions)
        less = with_lesions(
            _body(), [dataclasses.replace(one, contrast=shrink * one.contrast) for one in lesions]
        )
        draws = noise * _field(N_SAMPLES + 1, generator)
        samples = less + draws[0] + width * draws[1:]
        found += observe_lesions(
            _result(samples, samples.mean(0)), centre, lesions, slice_index=index
        )
    return found


@pytest.fixture(scope="module")
def known() -> list[Observation]:
    return _observations(n_slices=16)


def test_an_exact_posterior_has_nominal_coverage_and_no_bias(known):
    scores = score_lesions(known)
    for score in (scores.region_coverage, scores.pixel_coverage):
        assert abs(score.mean - 0.95) < 4 * score.error
        assert score.error < 0.03
    assert abs(scores.bias.mean) < 4 * scores.bias.error
    # and is right about how often an empty place looks like a disc
    assert abs(scores.claimed_empty.mean - 0.1) < 4 * scores.claimed_empty.error


def test_a_posterior_that_is_too_narrow_covers_too_little():
    narrow = score_lesions(_observations(width=0.5))
    assert narrow.pixel_coverage.mean < 0.8
    assert narrow.region_coverage.mean < 0.85
    assert narrow.claimed_empty.mean > 0.15


def test_shrinkage_is_bias():
    half = score_lesions(_observations(shrink=0.5, noise=0.01)).bias
    assert half.mean == pytest.approx(-0.5, abs=0.05)


def test_huge_discs_are_all_found_and_none_of_no_contrast():
    huge = score_lesions(_observations(strength=100.0))
    assert (huge.detection.mean, huge.auc.mean) == (1.0, 1.0)
    assert (huge.detection_by_ratio.mean, huge.auc_by_ratio.mean, huge.claimed.mean) == (1, 1, 1)
    nothing = score_lesions(_observations(strength=1e-9, n_slices=10))
    for score in (nothing.detection, nothing.detection_by_ratio, nothing.claimed):
        assert abs(score.mean - 0.1) < 4 * score.error
    for score in (nothing.auc, nothing.auc_by_ratio):
        assert abs(score.mean - 0.5) < 4 * score.error


def test_stronger_discs_are_easier_and_dark_ones_as_easy_as_bright_ones(known):
    faint, strong = (
        score_lesions(known, where=lambda one, c=c: math.isclose(one.lesion.contrast, c))
        for c in CONTRASTS
    )
    assert strong.auc.mean > faint.auc.mean + 0.05
    dark = score_lesions(_observations(strength=-1.0, n_slices=8))
    assert abs(dark.auc.mean - score_lesions(known).auc.mean) < 4 * dark.auc.error + 0.02
    assert dark.claimed.mean > 0.4


def test_methods_without_samples_get_what_needs_none(known):
    image = _body()
    lesions = place_lesions(image, radii=[3.0], contrasts=[0.2], n_each=2, n_empty=9)
    truth = with_lesions(image, lesions)
    scores = score_lesions(observe_lesions(_result(None, truth), truth, lesions))
    assert (scores.detection.mean, scores.auc.mean, scores.bias.mean) == (1.0, 1.0, 0.0)
    assert math.isnan(scores.auc.error)
    few = [one for one in known if one.slice_index == 0]  # three empty places of each radius
    assert score_lesions(few).detection is None
    assert score_lesions(few, false_alarms=0.25).detection is not None
    assert scores.claimed is None
    assert scores.region_coverage is None


def test_discs_lie_in_the_body_apart_from_one_another():
    lesions = place_lesions(_body(), radii=RADII, contrasts=CONTRASTS, n_each=1, n_empty=2)
    assert len(lesions) == 8
    taken = torch.zeros(SIDE, SIDE)
    for one in lesions:
        taken += (one.disc(taken) | one.surroundings(taken)).float()
        assert not bool((one.disc(taken) & one.surroundings(taken)).any())
        assert abs(int(one.disc(taken).sum()) - math.pi * one.radius**2) < 4 * one.radius
    assert float(taken.max()) == 1.0
    assert bool(body_mask(_body())[taken > 0].all())
    range_ = [one.contrast for one in lesions if one.radius == 2]
    assert sorted(range_) == pytest.approx([0, 0, 0.02, 0.1])


def test_places_depend_on_seed_and_slice_alone():
    first, again, other, next_slice = (
        place_lesions(_body(), radii=RADII, contrasts=CONTRASTS, seed=seed, index=index)
        for seed, index in ((0, 0), (0, 0), (1, 0), (0, 1))
    )
    assert first == again
    assert first not in (other, next_slice)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"radii": [0.0]}, "radii"),
        ({"radii": [60.0]}, "no room"),
        ({"contrasts": [0.0]}, "contrasts"),
    ],
)
def test_impossible_discs_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        place_lesions(_body(), **{"radii": [2.0], "contrasts": [0.1], **wrong})


def test_scores_say_what_is_missing(known):
    with pytest.raises(ValueError, match="false_alarms"):
        score_lesions(known, false_alarms=0.0)
    with pytest.raises(ValueError, match="at least one disc"):
        score_lesions(known, where=lambda _: False)
    with pytest.raises(ValueError, match="empty places"):
        score_lesions([one for one in known if one.lesion.contrast != 0])
