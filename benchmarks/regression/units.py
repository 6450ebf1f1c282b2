"""Units in which columns and targets have mean 0 and variance 1, by the training rows alone."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from bayesnn import Predictive


@dataclass(frozen=True, kw_only=True)
class Units:
    """The change of units; build it with `fit_units`.

    Attributes:
        x_mean: of each column.
        x_scale: standard deviation of each column; 1 for a constant one.
        y_mean: of the targets.
        y_scale: standard deviation of the targets; 1 if they are constant.
    """

    x_mean: Float[Tensor, " d"]
    x_scale: Float[Tensor, " d"]
    y_mean: Float[Tensor, ""]
    y_scale: Float[Tensor, ""]

    def inputs(self, X: Float[Tensor, "m d"]) -> Float[Tensor, "m d"]:
        """Return standardised rows."""
        return (X - self.x_mean) / self.x_scale

    def targets(self, y: Float[Tensor, " m"]) -> Float[Tensor, " m"]:
        """Return standardised targets."""
        return (y - self.y_mean) / self.y_scale

    def restored(self, post: Predictive) -> Predictive:
        """Return a distribution of standardised targets in y's own units."""
        square = self.y_scale**2
        members = post.members
        return Predictive(
            mean=post.mean.double() * self.y_scale + self.y_mean,
            epistemic_variance=post.epistemic_variance.double() * square,
            noise_variance=post.noise_variance.double() * square,
            n_members=post.n_members,
            members=None if members is None else members.double() * self.y_scale + self.y_mean,
        )


def fit_units(X: Float[Tensor, "n d"], y: Float[Tensor, " n"]) -> Units:
    """Return the units of training rows."""
    spread, y_spread = X.std(0, correction=0), y.std(correction=0)
    return Units(
        x_mean=X.mean(0),
        x_scale=spread.where(spread > 1e-12 * (1 + X.mean(0).abs()), 1.0),
        y_mean=y.mean(),
        y_scale=y_spread.where(y_spread > 0, 1.0),
    )
