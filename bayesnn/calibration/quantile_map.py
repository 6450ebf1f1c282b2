"""Predicted probabilities of regression, mapped to how often they came true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float64
from torch import Tensor

from bayesnn.calibration.conformal import check_level
from bayesnn.calibration.piecewise_linear import interpolated
from bayesnn.checks import as_finite_tensor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantileMap:
    """The rising function R from predicted probabilities to recalibrated ones.

    Attributes:
        predicted: probabilities where R is known, from 0 to 1.
        observed: R there; linear in between.
    """

    predicted: Float64[Tensor, " k"]
    observed: Float64[Tensor, " k"]

    def transform(self, probability: ArrayLike | Tensor) -> Tensor:
        """Return R(F(y)): the recalibrated distribution function, from the predicted one.

        Args:
            probability: values in [0, 1], of any shape.

        Returns:
            Recalibrated ones, like `probability`.

        Raises:
            ValueError: values outside of [0, 1].
        """
        return interpolated(_checked(probability, "probability"), self.predicted, self.observed)

    def inverse(self, probability: ArrayLike | Tensor) -> Tensor:
        """Return R⁻¹(q): which quantile to ask the prediction for, to get the one at q.

        Args:
            probability: q, values in [0, 1], of any shape.

        Returns:
            Values in [0, 1], like `probability`.

        Raises:
            ValueError: values outside of [0, 1].
        """
        return interpolated(_checked(probability, "probability"), self.observed, self.predicted)

    def interval(self, quantile: Callable[[float], Tensor], level: float) -> tuple[Tensor, Tensor]:
        """Return the recalibrated central interval.

        Args:
            quantile: the prediction's, such as `Predictive.quantile`.
            level: probability in (0, 1).

        Returns:
            Lower and upper ends: the prediction's quantiles at R⁻¹((1 − level)/2) and at
            R⁻¹((1 + level)/2).

        Raises:
            ValueError: a level outside (0, 1).

        Example:
            >>> narrow = fit_quantile_map([0.0, 0.0, 1.0, 1.0, 1.0])  # no y inside
            >>> narrow.interval(lambda q: torch.tensor(q), 0.5)
            (tensor(0.), tensor(1.))
        """
        check_level(level)
        ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
        low, high = self.inverse(ends).tolist()
        return quantile(low), quantile(high)


def fit_quantile_map(pit: ArrayLike | Tensor) -> QuantileMap:
    """Learn from held-out points how often predicted probabilities come true.

    R is the empirical distribution function of u_i = F_i(y_i): #{u ≤ p}/(n + 1) at each of them, 0
    and 1 at the ends (short of it where some u are 0 or 1), linear in between. A further point that
    is exchangeable with the n held-out ones has P(R(u) ≤ k/(n + 1)) = k/(n + 1) for k = 1, …, n
    where no two u are equal. (With n in place of n + 1, as published, no observation could lie
    beyond the outermost of the held-out ones.) R moves and stretches the same way everywhere: it
    calibrates on average over inputs.

    Args:
        pit: u, the predicted probability of a value up to the observed one, at held-out points that
            the prediction has not seen, of any shape; see `pit_gaussian` and `pit_samples`.

    Returns:
        What turns predicted probabilities into recalibrated ones.

    Raises:
        ValueError: values outside of [0, 1].

    Source:
        V. Kuleshov, N. Fenner, S. Ermon, ICML 2018, arXiv 1807.00263, algorithm 1.

    Example:
        >>> fitted = fit_quantile_map([0.4, 0.5, 0.6])
        >>> fitted.transform(torch.tensor([0.2, 0.4, 0.6])), fitted.inverse(torch.tensor([0.25]))
        (tensor([0.1250, 0.2500, 0.7500]), tensor([0.4000]))
    """
    values = _checked(pit, "pit").double().flatten().cpu()
    inside = values[(values > 0) & (values < 1)]
    knots, counts = torch.unique(inside, return_counts=True)
    at_zero = int((values == 0).sum())
    observed = (at_zero + counts.cumsum(0)).double()
    n = len(values)
    at_ends = torch.tensor([at_zero, n + 1 - int((values == 1).sum())], dtype=torch.float64)
    first, last = at_ends.chunk(2)
    return QuantileMap(
        predicted=torch.cat([torch.zeros_like(first), knots, torch.ones_like(last)]),
        observed=torch.cat([first, observed, last]) / (n + 1),
    )


def _checked(probability: ArrayLike | Tensor, name: str) -> Tensor:
    values = as_finite_tensor(probability, name, ndim=range(16))
    if bool(((values < 0) | (values > 1)).any()):
        raise ValueError(
            f"{name}: expected probabilities in [0, 1], got values between "
            f"{float(values.min()):.3g} and {float(values.max()):.3g}."
        )
    return values
