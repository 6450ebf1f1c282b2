"""Isotonic recalibration against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression

from bayesnn.calibration import fit_isotonic, fit_isotonic_classes
from tests.bayesnn.calibration.test_logit_scaling import Logits, overconfident


@given(n=st.integers(2, 60), seed=st.integers(0, 500), digits=st.integers(0, 8))
def test_one_class_is_that_of_scikit_learn(n: int, seed: int, digits: int) -> None:
    """With ties, beyond the ends and in between."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=n).round(digits)
    y = (scores + rng.normal(size=n) > 0).astype(int)
    y[:2] = 0, 1
    further = np.concatenate([scores, rng.normal(size=20), [-9.0, 9.0]])
    peer = IsotonicRegression(out_of_bounds="clip").fit(scores, y)
    got = fit_isotonic(y, scores).transform(further)
    np.testing.assert_allclose(got, peer.predict(further), atol=1e-6)


@pytest.mark.parametrize("n_classes", [3, 6])
def test_each_class_against_the_rest_is_that_of_scikit_learn(n_classes: int) -> None:
    y, z = overconfident(200, n_classes, seed=n_classes)
    _, further = overconfident(100, n_classes, seed=99)
    peer = CalibratedClassifierCV(
        FrozenEstimator(Logits().fit(z.numpy(), y.numpy())), method="isotonic", ensemble=False
    ).fit(z.numpy(), y.numpy())
    got = fit_isotonic_classes(y, z).transform(further)
    np.testing.assert_allclose(got, peer.predict_proba(further.numpy()), atol=1e-6)


def test_classes_that_all_get_nothing_are_even() -> None:
    fitted = fit_isotonic_classes([0, 0, 1, 1, 2, 2], torch.eye(3).repeat_interleave(2, 0))
    got = fitted.transform([[-1.0, -1.0, -1.0], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(got, got.new_tensor([[1 / 3, 1 / 3, 1 / 3], [1.0, 0.0, 0.0]]))


def test_a_true_probability_is_found() -> None:
    probability = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    y = torch.rand(20_000, generator=torch.Generator().manual_seed(0)) < probability**2
    got = fit_isotonic(y.int(), probability).transform([0.2, 0.5, 0.8])
    np.testing.assert_allclose(got, [0.04, 0.25, 0.64], atol=0.04)


def test_device_and_dtype_follow_the_scores(device: str) -> None:
    fitted = fit_isotonic([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4])
    got = fitted.transform(torch.zeros(2, 3, device=device))
    assert (got.device.type, got.dtype, got.shape) == (device, torch.float32, (2, 3))
    same = fit_isotonic([0, 1], [0.5, 0.5]).transform(torch.ones(2, device=device))
    assert same.tolist() == [0.5, 0.5]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="y: expected both of the classes 0 and 1, got 1;"):
        fit_isotonic([1, 1], [0.1, 0.2])
    with pytest.raises(ValueError, match=r"got 0, 1, 2; .* see fit_isotonic_classes"):
        fit_isotonic([0, 1, 2], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="scores: expected 2 values, one a class of y, got 3"):
        fit_isotonic([0, 1], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="of each of the 3 classes, got none of 2"):
        fit_isotonic_classes([0, 1], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    with pytest.raises(ValueError, match="scores: expected finite"):
        fit_isotonic([0, 1], [0.1, float("nan")])
    fitted = fit_isotonic_classes([0, 1], [[1.0, 0.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match="scores: expected 2 columns as at the fit, got 3"):
        fitted.transform([[0.1, 0.2, 0.3]])
