"""Saved classifiers predict the same, bit for bit, with labels of any kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ensembles import EnsembleClassifier, adam, cross_entropy, deep_ensemble, one_hot_regression
from tests.ensembles.stored import X_NEW, X, small_net

LABELS: dict[str, list[Any]] = {
    "strings": ["Kälte", "cat", "dog"],
    "numbers": [3, 5, 8],
    "negative": [-1, 0, 1],
    "booleans": [False, True],
    "whole floats": [0.0, 1.0, 2.0],
}


def classifier(labels: Any, **settings: Any) -> EnsembleClassifier:
    chosen = {"n_members": 3, "random_state": 0, "trainer": adam(steps=5)}
    y = np.asarray(labels)[np.arange(30) % len(labels)]
    network = settings.pop("network", small_net(len(labels)))
    return EnsembleClassifier(network, **(chosen | settings)).fit(X, y)


CLASSIFIERS: dict[str, Callable[[], EnsembleClassifier]] = {
    **{name: lambda labels=labels: classifier(labels) for name, labels in LABELS.items()},
    "object labels": lambda: classifier(np.array(["a", "b"], dtype=object)),
    "one-hot": lambda: classifier([0, 1], likelihood=one_hot_regression(noise_std=0.2)),
    "temperature": lambda: classifier([0, 1], likelihood=cross_entropy(), temperature=1.7),
    "default network": lambda: classifier([0, 1], network=None),
    "deep ensemble": lambda: classifier([0, 1], method=deep_ensemble()),
}


@pytest.mark.parametrize("case", CLASSIFIERS)
def test_a_loaded_classifier_predicts_the_same_bit_for_bit(case: str, tmp_path: Path) -> None:
    model = CLASSIFIERS[case]()
    path = tmp_path / "model.ens"
    model.save(path)
    again = EnsembleClassifier.load(path)
    assert type(again) is EnsembleClassifier
    assert vars(again).keys() == vars(model).keys()
    assert again.classes_.dtype == model.classes_.dtype
    assert np.array_equal(again.classes_, model.classes_)
    assert np.array_equal(again.predict_proba(X_NEW), model.predict_proba(X_NEW))
    assert np.array_equal(again.predict(X_NEW), model.predict(X_NEW))
    assert again.temperature_ == model.temperature_
    assert again.likelihood == model.likelihood
    again.fit(X, model.classes_[np.arange(30) % len(model.classes_)])
    assert np.array_equal(again.predict_proba(X_NEW), model.predict_proba(X_NEW))


def test_labels_that_json_cannot_hold_are_refused(tmp_path: Path) -> None:
    days = np.array(["2026-01-01", "2026-01-02"], dtype="datetime64[D]")
    model = classifier([0, 1])
    for labels in (days, np.array([b"a", b"b"]), days.astype(object)):
        model.classes_ = labels
        with pytest.raises(ValueError, match=r"classes: a file can hold numbers and strings only"):
            model.save(tmp_path / "model.ens")
    assert list(tmp_path.iterdir()) == []
