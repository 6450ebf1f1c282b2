"""Whether predicted quantiles are exceeded as often as they say, and how sharp predictions are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from bayesnn.calibration.inputs import same_shaped, with_members
from bayesnn.checks import as_finite_tensor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def quantile_calibration_error(
    y: ArrayLike | Tensor, quantiles: ArrayLike | Tensor, levels: ArrayLike | Tensor
) -> Tensor:
    """Mean distance of the share of points at or below predicted quantiles from their levels.

    (1/K) Σ_k |#{y ≤ q_k}/n − τ_k|: the ℓ1 norm over the given levels, without bins. Unlike central
    intervals, which `expected_calibration_error` judges, quantiles also show a bias. n points from
    the truth itself do not score 0 but about mean_k √(2τ_k(1 − τ_k)/(πn)): 0.31/√n for levels
    spread evenly over (0, 1).

    Args:
        y: what was observed, of any shape.
        quantiles: q_k, [levels, *y.shape], such as
            `torch.stack([posterior.quantile(t) for t in levels])`.
        levels: τ_k, K probabilities in (0, 1).

    Returns:
        The error, a tensor without dimensions: 0 is perfect.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, levels outside (0, 1),
            quantiles that fall as the level grows.

    Source:
        Kuleshov, Fenner, Ermon, ICML 2018, arXiv 1807.00263, section 3.5, with absolute values in
        place of squares.

    Example:
        >>> round(float(quantile_calibration_error([0.0, 2.0], [[1.0, 1.0]], [0.9])), 3)
        0.4
    """
    observed, (values,) = with_members(y, quantiles=quantiles)
    shares = as_finite_tensor(levels, "levels", ndim=(1,)).to(observed)
    if len(shares) != len(values):
        raise ValueError(
            f"levels: expected {len(values)}, one for each of the quantiles, got {len(shares)}."
        )
    if not bool(((shares > 0) & (shares < 1)).all()):
        raise ValueError("levels: expected probabilities in (0, 1).")
    order = shares.argsort().tolist()
    error = observed.new_zeros(())
    for k, before in zip(order, [order[0], *order], strict=False):
        if bool((values[k] < values[before]).any()):
            raise ValueError(
                "quantiles: expected them to grow with the level, got some that fall; sort them."
            )
        error += ((observed <= values[k]).to(observed.dtype).mean() - shares[k]).abs()
    return error / len(shares)


def sharpness(std: ArrayLike | Tensor) -> Tensor:
    """Root mean square of predictive standard deviations, in y's units: what is claimed of errors.

    √(mean σ²); lower is sharper, which is good only where the predictions are calibrated: then it
    is the root mean square of the errors. `mean_width` is the same for intervals.

    Args:
        std: σ, at least 0, of any shape.

    Returns:
        The sharpness, a tensor without dimensions.

    Raises:
        ValueError: values that are not finite, or a σ below 0.

    Source:
        Kuleshov, Fenner, Ermon, ICML 2018, arXiv 1807.00263, section 3.5, and its root.

    Example:
        >>> float(sharpness([1.0, 7.0]))
        5.0
    """
    (values,) = same_shaped(std=std)
    if not bool((values >= 0).all()):
        raise ValueError(f"std: expected values of at least 0, got {float(values.min()):.3g}.")
    return values.square().mean().sqrt()
