"""Recalibration and conformal prediction behind scikit-learn's interface: fit on held-out data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from bayesnn.calibration.adaptive_sets import AdaptiveSets, fit_adaptive_sets
from bayesnn.calibration.isotonic import IsotonicClasses, fit_isotonic_classes
from bayesnn.calibration.split_conformal import SplitConformal, fit_split_conformal
from bayesnn.calibration.temperature_scaling import TemperatureScaling, fit_temperature
from bayesnn.calibration.vector_scaling import VectorScaling, fit_vector_scaling

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class TemperatureScaler(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """`fit_temperature` as a transformer of logits [n, classes] into probabilities.

    Attributes:
        scaling_: the fitted `TemperatureScaling`.

    Example:
        >>> scaler = TemperatureScaler().fit([[2.0, 0.0]] * 4, [0, 0, 0, 1])
        >>> scaler.transform([[2.0, 0.0]])
        array([[0.75, 0.25]])
    """

    scaling_: TemperatureScaling

    def fit(self, X: ArrayLike, y: ArrayLike) -> TemperatureScaler:
        """Fit to the logits X, [n, classes], of held-out points and their classes y, from 0.

        Returns:
            Itself.
        """
        self.scaling_ = fit_temperature(y, X)
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.floating]:
        """Return probabilities of the classes, [n, classes], from the logits X."""
        check_is_fitted(self)
        return self.scaling_.transform(X).numpy()


class VectorScaler(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """`fit_vector_scaling` as a transformer of logits [n, classes] into probabilities.

    Args:
        penalty: λ ≥ 0, which holds factors near 1 and offsets near 0.

    Attributes:
        scaling_: the fitted `VectorScaling`.
    """

    scaling_: VectorScaling

    def __init__(self, *, penalty: float = 0.0) -> None:
        self.penalty = penalty

    def fit(self, X: ArrayLike, y: ArrayLike) -> VectorScaler:
        """Fit to the logits X, [n, classes], of held-out points and their classes y, from 0.

        Returns:
            Itself.
        """
        self.scaling_ = fit_vector_scaling(y, X, penalty=self.penalty)
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.floating]:
        """Return probabilities of the classes, [n, classes], from the logits X."""
        check_is_fitted(self)
        return self.scaling_.transform(X).numpy()


class IsotonicScaler(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """`fit_isotonic_classes` as a transformer of scores [n, classes] into probabilities.

    Attributes:
        scaling_: the fitted `IsotonicClasses`.
    """

    scaling_: IsotonicClasses

    def fit(self, X: ArrayLike, y: ArrayLike) -> IsotonicScaler:
        """Fit to the scores X, [n, classes], of held-out points and their classes y, from 0.

        Returns:
            Itself.
        """
        self.scaling_ = fit_isotonic_classes(y, X)
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.floating]:
        """Return probabilities of the classes, [n, classes], from the scores X."""
        check_is_fitted(self)
        return self.scaling_.transform(X).numpy()


class ConformalRegressor(BaseEstimator):  # type: ignore[misc]
    """`fit_split_conformal` around a fitted regressor.

    Args:
        estimator: fitted, with `predict(X)`; it is used as it is, never fitted or cloned here.
        standardized: whether intervals are wide in proportion to the estimator's own standard
            deviations, from `predict(X, return_std=True)`, as `EnsembleRegressor` and
            scikit-learn's Gaussian processes give them.

    Attributes:
        conformal_: the fitted `SplitConformal`.

    Example:
        >>> from sklearn.dummy import DummyRegressor
        >>> zero = DummyRegressor(strategy="constant", constant=0.0).fit([[0.0]], [0.0])
        >>> model = ConformalRegressor(zero, standardized=False)
        >>> model.fit([[0.0]] * 4, [1.0, -2.0, 3.0, -4.0]).predict_interval([[0.0]], level=0.6)
        (array([-3.]), array([3.]))
    """

    conformal_: SplitConformal

    def __init__(self, estimator: Any, *, standardized: bool = True) -> None:
        self.estimator = estimator
        self.standardized = standardized

    def fit(self, X: ArrayLike, y: ArrayLike) -> ConformalRegressor:
        """Learn the intervals' widths from held-out X, y, which the estimator has not seen.

        Returns:
            Itself.
        """
        self.conformal_ = fit_split_conformal(y, *self._predicted(X))
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.floating]:
        """Return what the estimator predicts."""
        return np.asarray(self.estimator.predict(X))

    def predict_interval(
        self, X: ArrayLike, *, level: float = 0.95
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return lower and upper ends that hold observations with probability `level` at least.

        Returns:
            Ends, each like the prediction.
        """
        check_is_fitted(self)
        lower, upper = self.conformal_.interval(*self._predicted(X), level=level)
        return lower.numpy(), upper.numpy()

    def _predicted(self, X: ArrayLike) -> tuple[Any, Any]:
        if not self.standardized:
            return self.estimator.predict(X), None
        mean, std = self.estimator.predict(X, return_std=True)
        return mean, std


class ConformalClassifier(BaseEstimator):  # type: ignore[misc]
    """`fit_adaptive_sets` around a fitted classifier.

    Args:
        estimator: fitted, with `predict_proba(X)` and `classes_`; it is used as it is, never fitted
            or cloned here.
        randomised: whether sets are randomised, for coverage that is not larger than asked.
        seed: of the draws.

    Attributes:
        conformal_: the fitted `AdaptiveSets`.
        classes_: the estimator's labels, in the sets' columns' order.
    """

    conformal_: AdaptiveSets

    def __init__(self, estimator: Any, *, randomised: bool = True, seed: int = 0) -> None:
        self.estimator = estimator
        self.randomised = randomised
        self.seed = seed

    @property
    def classes_(self) -> NDArray[np.generic]:
        """Labels of the columns."""
        return np.asarray(self.estimator.classes_)

    def fit(self, X: ArrayLike, y: ArrayLike) -> ConformalClassifier:
        """Learn the sets' sizes from held-out X and labels y, which the estimator has not seen.

        Returns:
            Itself.

        Raises:
            ValueError: labels that the estimator does not know, or no probabilities.
        """
        known = {label: code for code, label in enumerate(self.classes_.tolist())}
        labels = np.asarray(y).tolist()
        unknown = sorted({repr(label) for label in labels if label not in known})
        if unknown:
            raise ValueError(
                f"y: expected the estimator's classes, such as {next(iter(known))!r}, got "
                f"{', '.join(unknown[:5])}."
            )
        self.conformal_ = fit_adaptive_sets(
            [known[label] for label in labels],
            self.estimator.predict_proba(X),
            randomised=self.randomised,
            seed=self.seed,
        )
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.generic]:
        """Return the classes that the estimator predicts."""
        return np.asarray(self.estimator.predict(X))

    def predict_set(self, X: ArrayLike, *, level: float = 0.95) -> NDArray[np.bool_]:
        """Return which classes stand in sets that hold the true one with probability `level`.

        Returns:
            Truth values, [n, classes].
        """
        check_is_fitted(self, "conformal_")
        sets = self.conformal_.sets(self.estimator.predict_proba(X), level=level, seed=self.seed)
        return sets.numpy()
