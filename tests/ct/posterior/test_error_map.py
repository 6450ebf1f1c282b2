import math

import numpy as np
import pytest
import torch

from bayesnn.calibration import conformal_quantile, reliability_curve
from ct.half_width import LEVELS, calibrated_half_width, student_half_width
from ct.posterior import error_map
from ct.posterior.error_map import (
    body_share,
    error_features,
    fit_error_variance,
    interpolated,
)
from ct.posterior.error_samples import known_gain
from tests.ct.posterior.drawn_images import disc, normal


def test_the_error_variance_is_learnt_from_errors_and_holds_for_another_image():
    size = (1 + 4 * torch.rand(2, 96, 96, generator=torch.Generator().manual_seed(0))).double()
    size = torch.stack([torch.nn.functional.avg_pool2d(one[None], 9, 1, 4)[0] for one in size])
    size = (size - size.amin()) * 8 + 0.5
    folds = size[:, None] * normal(2, 10, 96, 96, seed=1)
    flat = torch.zeros(96, 96, dtype=torch.float64)
    # errors three times the folds' spread
    error = 3 * size * normal(2, 96, 96, seed=2)
    variance = fit_error_variance(error[0], error_features(flat, folds[0]))
    other = error[1] / variance.at(error_features(flat, folds[1])).sqrt()
    for mask in (size[1] > size[1].quantile(0.8), size[1] < size[1].quantile(0.2)):
        assert float(other[mask].square().mean()) == pytest.approx(1, rel=0.25)
    # a constant would be far off in both
    assert float((error[1] / error[1].std())[size[1] < size[1].quantile(0.2)].square().mean()) < 0.6


def test_error_variances_have_the_squared_units_of_the_image():
    folds, mean = normal(5, 20, 20, seed=0), normal(20, 20, seed=1)
    error = normal(20, 20, seed=2)
    plain = fit_error_variance(error, error_features(mean, folds))
    scaled = fit_error_variance(1e4 * error, error_features(1e4 * mean, 1e4 * folds))
    features = error_features(mean, folds)
    assert torch.allclose(scaled.at(1e8 * features), 1e8 * plain.at(features), rtol=1e-8)


def test_folds_that_agree_everywhere_and_images_of_one_value_still_have_a_variance():
    flat = torch.ones(8, 8, dtype=torch.float64)
    features = error_features(flat, flat.expand(3, 8, 8))
    variance = fit_error_variance(normal(8, 8, seed=0), features)
    assert bool((variance.at(features) > 0).all())
    assert torch.equal(body_share(flat), 0.5 * flat)


def test_the_body_is_bright_and_its_border_soft():
    share = body_share(100 * disc(64) - 1000)
    assert float(share[32, 32]) == pytest.approx(1)
    assert float(share[0, 0]) == pytest.approx(0)
    assert float(share.mean()) == pytest.approx(float(disc(64).mean()), rel=0.02)


def test_faint_materials_beside_a_bright_one_belong_to_the_body():
    image = 0.1 * disc(64) + 0.01 * normal(64, 64, seed=0)
    image[28:36, 28:36] += 1
    share = body_share(image)
    assert float(share[22, 32]) == pytest.approx(1, abs=0.01)
    assert float(share[0, 0]) == pytest.approx(0, abs=0.05)


def test_the_gain_is_the_ratio_of_powers_at_each_frequency():
    folds = normal(9, 64, 64, seed=0)
    deviations = (8 / 9) ** 0.5 * (folds - folds.mean(0))
    error = 0.5 * torch.tensordot(normal(9, seed=1), deviations, dims=1)
    response = known_gain(error, folds).response
    share = 0.5 * float(normal(9, seed=1).norm()) / 3
    assert float(response[20:45, 5:].mean()) == pytest.approx(share, rel=0.25)
    blur = torch.fft.rfft2(error) * (torch.hypot(*_frequencies(64)) < 0.2)
    low_only = known_gain(torch.fft.irfft2(blur, s=(64, 64)), folds).response
    assert float(low_only[32, 32]) == pytest.approx(0, abs=1e-9)
    assert torch.allclose(low_only[2, 2], response[2, 2])


def _frequencies(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    along, across = torch.fft.fftfreq(n)[:, None], torch.fft.rfftfreq(n)[None]
    return torch.broadcast_tensors(along, across)


def test_a_further_score_is_below_the_conformal_quantile_as_often_as_promised():
    scores = normal(1500, 20, seed=0).abs()
    for level in (0.0, 0.5, 0.9):
        quantiles = torch.stack([conformal_quantile(one[:-1], level) for one in scores])
        share = float((scores[:, -1] <= quantiles).double().mean())
        assert level - 0.03 <= share <= level + 1 / 20 + 0.03
    assert math.isinf(float(conformal_quantile([1.0, 2.0], 0.9)))
    assert float(conformal_quantile([3.0, 1.0, 2.0], 0.75)) == 3.0
    with pytest.raises(ValueError, match="level"):
        conformal_quantile([1.0], 1.0)
    with pytest.raises(ValueError, match="scores: expected at least one"):
        conformal_quantile([], 0.5)
    with pytest.raises(ValueError, match="scores: expected at least one"):
        reliability_curve([], [1.0])


def test_reliability_is_the_diagonal_where_the_scores_are_normal():
    standard = torch.distributions.Normal(0.0, 1.0)
    widths = [float(standard.icdf(torch.tensor(0.5 + level / 2))) for level in LEVELS]
    curve = reliability_curve(normal(50_000, seed=0).abs(), widths)
    assert curve.tolist() == pytest.approx(list(LEVELS), abs=0.01)


def test_half_widths_between_and_beyond_the_calibrated_levels():
    widths = {"0.5": 0.5, "0.9": 1.5, "0.99": 3.0}
    assert calibrated_half_width(0.0, widths) == 0
    assert calibrated_half_width(0.25, widths) == pytest.approx(0.25)
    assert calibrated_half_width(0.9, widths) == 1.5
    assert calibrated_half_width(0.999, widths) == pytest.approx(3.0 * 3.2905 / 2.5758, rel=1e-4)
    for function in (
        lambda level: calibrated_half_width(level, widths),
        lambda level: student_half_width(level, 5),
    ):
        with pytest.raises(ValueError, match="level: expected"):
            function(1.0)


def test_edges_down_and_across_tell_the_same():
    folds, mean = normal(4, 12, 16, seed=0), normal(12, 16, seed=1)
    features = error_features(mean, folds)
    turned = error_features(mean.T, folds.mT)
    assert torch.allclose(turned.mT, features)
    flat = torch.zeros(3, 12, 16, dtype=torch.float64)
    ramp = error_features(2 * torch.arange(12.0)[:, None].expand(12, 16).double(), flat)
    assert torch.allclose(ramp[3:], torch.tensor(4.0).double())


def test_features_far_beyond_those_learnt_from_count_for_no_more_than_some():
    folds, flat = normal(10, 24, 24, seed=0), torch.zeros(24, 24, dtype=torch.float64)
    features = error_features(flat, folds)
    variance = fit_error_variance(normal(24, 24, seed=1) * features[0].sqrt(), features)
    assert float(variance.at(2 * features).mean()) > 1.2 * float(variance.at(features).mean())
    assert torch.equal(variance.at(1e6 * features), variance.at(1e9 * features))


def test_one_wild_error_does_no_more_than_some():
    features = error_features(normal(24, 24, seed=2), normal(10, 24, 24, seed=0))
    error = normal(24, 24, seed=1)
    plain = fit_error_variance(error, features).at(features).mean()
    error[5, 7] = 30.0
    once = fit_error_variance(error, features).at(features).mean()
    error[5, 7] = 1e4
    assert float(fit_error_variance(error, features).at(features).mean()) < 1.2 * float(once)
    assert float(once) < 1.4 * float(plain)


def test_the_variance_rises_with_the_features_and_is_right_among_those_alike():
    # errors that saturate: a plane through logs of features overshoots where these are largest
    sizes = torch.linspace(-3, 3, 64, dtype=torch.float64).exp().expand(64, 64)
    folds = normal(10, 64, 64, seed=0) * sizes
    features = error_features(torch.zeros(64, 64, dtype=torch.float64), folds)
    error = normal(64, 64, seed=1) * sizes.clamp(max=2.0)
    variance = fit_error_variance(error, features)
    found = variance.at(features)
    assert float(found.mean() / error.square().mean()) == pytest.approx(1, rel=0.1)
    for columns in (slice(0, 16), slice(24, 40), slice(48, 64)):
        ratio = found[:, columns].mean() / error[:, columns].square().mean()
        assert 0.75 < float(ratio) < 1.33
    assert bool((variance.curve.diff(dim=1) >= 0).all())


def test_a_curve_is_followed_between_its_places_and_flat_beyond_them():
    places = torch.tensor([-1.0, 0.5, 2.0, 2.5], dtype=torch.float64)
    heights = torch.tensor([0.0, 3.0, 3.0, 7.0], dtype=torch.float64)
    values = torch.linspace(-3, 4, 71, dtype=torch.float64)[None]
    found = interpolated(values, torch.stack([places, heights]))
    expected = np.interp(values.numpy(), places.numpy(), heights.numpy())
    assert np.allclose(found.numpy(), expected)


def test_errors_that_fall_where_they_should_rise_have_one_variance_their_mean_square():
    features = torch.linspace(-2, 2, 4096, dtype=torch.float64)
    squares = (-features).exp()
    curve = error_map._rising_curve(features, squares)
    # steps are of different sizes, and count as many times as they have pixels
    assert torch.allclose(curve[1].exp(), squares.mean())
