"""Units: between the user's and those that the networks see."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Standardizer:
    """x → (x − x_mean)/x_scale and y → (y − y_mean)/y_scale, column by column.

    X of more than two dimensions, such as images, has one mean and one scale for all of it. All
    four are kept in float64, so that columns with a large mean lose nothing.
    """

    x_mean: Float[Tensor, " d"]
    x_scale: Float[Tensor, " d"]
    y_mean: Float[Tensor, " k"]
    y_scale: Float[Tensor, " k"]

    def __post_init__(self) -> None:
        """Refuse what would be broadcast to other numbers of points.

        Raises:
            TypeError: no vectors, as in a damaged file.
        """
        shapes = [list(one.shape) for one in (self.x_mean, self.x_scale, self.y_mean, self.y_scale)]
        if any(len(shape) != 1 for shape in shapes):
            raise TypeError(f"expected a number a column, found shapes {shapes}")

    def inputs(self, x: Float[Tensor, "n ..."], dtype: torch.dtype) -> Float[Tensor, "n ..."]:
        """Return standardised inputs."""
        return ((x.double() - self.x_mean) / self.x_scale).to(dtype)

    def targets(self, y: Float[Tensor, "n k"], dtype: torch.dtype) -> Float[Tensor, "n k"]:
        """Return standardised targets."""
        return ((y.double() - self.y_mean) / self.y_scale).to(dtype)

    def values_in_y_units(self, values: Float[Tensor, "*m n k"]) -> Float[Tensor, "*m n k"]:
        """Return function values in y's units."""
        return (values.double() * self.y_scale + self.y_mean).to(values.dtype)


def fit_standardizer(
    x: Float[Tensor, "n ..."],
    y: Float[Tensor, "n k"],
    *,
    row_weight: Float[Tensor, " n"] | None = None,
) -> Standardizer:
    """Return the standardizer that gives the (weighted) training data mean 0 and variance 1.

    A constant column keeps its scale.
    """
    if x.ndim == 2:
        x_mean, x_scale = _moments(x, row_weight)
    else:
        each = None if row_weight is None else row_weight.repeat_interleave(x[0].numel())
        x_mean, x_scale = _moments(x.reshape(-1, 1), each)
    y_mean, y_scale = _moments(y, row_weight)
    return Standardizer(x_mean=x_mean, x_scale=x_scale, y_mean=y_mean, y_scale=y_scale)


def identity_standardizer(x: Float[Tensor, "n ..."], y: Float[Tensor, "n k"]) -> Standardizer:
    """Return the standardizer that changes nothing."""
    d, k = x.shape[1] if x.ndim == 2 else 1, y.shape[1]
    return Standardizer(
        x_mean=x.new_zeros(d, dtype=torch.float64),
        x_scale=x.new_ones(d, dtype=torch.float64),
        y_mean=x.new_zeros(k, dtype=torch.float64),
        y_scale=x.new_ones(k, dtype=torch.float64),
    )


def _moments(
    values: Float[Tensor, "n c"], row_weight: Float[Tensor, " n"] | None
) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
    values = values.double()
    share = values.new_full((len(values),), 1 / len(values))
    if row_weight is not None:
        share = row_weight.double() / row_weight.double().sum()
    mean = values.mean(0) if row_weight is None else share @ values
    scale = (share @ (values - mean).square()).sqrt()
    # what rounding leaves of a constant column is no scale
    constant = scale <= 1e-12 * mean.abs()
    return mean, torch.where(constant | (scale == 0), 1.0, scale)
