"""What all Gaussian-process regressions share: kernels, checked data, results in y's shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.checks import as_finite_tensor, check_positive
from bayesnn.predictive import Predictive

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Kernel = Callable[..., Tensor]  # k(x1, x2=None) -> [n1, n2]

DIAGONAL_CHUNK = 256
NOT_POSITIVE_DEFINITE = (
    "kernel: K + σ²I is not positive definite in this precision; use float64, raise noise_std, or "
    "add a jitter."
)


@dataclass(frozen=True, kw_only=True)
class RegressionData:
    """Checked training data; build it with `regression_data`.

    Attributes:
        x: inputs, [n, ...].
        y: targets, one column an output.
        vector_targets: whether y was given as a vector.
    """

    x: Float[Tensor, "n ..."]
    y: Float[Tensor, "n k"]
    vector_targets: bool

    def predictive(
        self,
        *,
        mean: Float[Tensor, "m k"],
        variance: Float[Tensor, " m"] | Float[Tensor, "m k"],
        noise_variance: Tensor,
        covariance: Float[Tensor, "m m"] | None = None,
        n_members: int | None = None,
    ) -> Predictive:
        """Return a distribution shaped as y was; outputs share a variance and a covariance."""
        if variance.ndim == 1:
            variance = variance.unsqueeze(1).expand_as(mean)
        if self.vector_targets:
            mean, variance = mean.squeeze(1), variance.squeeze(1)
        elif covariance is not None:
            covariance = covariance.expand(mean.shape[1], -1, -1)
        return Predictive(
            mean=mean,
            # rounding may leave less than nothing at the data
            epistemic_variance=variance.clamp(min=0.0),
            noise_variance=noise_variance.detach(),
            covariance=covariance,
            n_members=n_members,
        )


def regression_data(
    x: ArrayLike | Tensor, y: ArrayLike | Tensor, *, dtype: torch.dtype | None = None
) -> RegressionData:
    """Check inputs and targets.

    Args:
        x: inputs, [n, ...].
        y: targets, [n] or [n, outputs].
        dtype: of both; x's by default.

    Returns:
        Both as tensors of one dtype and device.

    Raises:
        ValueError: NaN, or lengths that differ.
    """
    inputs = as_points(x, "x", dtype=dtype)
    targets = as_finite_tensor(y, "y", ndim=(1, 2)).to(inputs)
    if len(targets) != len(inputs):
        raise ValueError(f"y: expected {len(inputs)} rows as in x, got {len(targets)}.")
    return RegressionData(
        x=inputs, y=targets.reshape(len(inputs), -1), vector_targets=targets.ndim == 1
    )


def as_points(x: ArrayLike | Tensor, name: str, *, dtype: torch.dtype | None = None) -> Tensor:
    """Return checked points, [n, features] or [n, channels, ...]."""
    return as_finite_tensor(x, name, ndim=range(2, 5), dtype=dtype)


def as_noise(noise_std: float | Tensor, like: Tensor) -> Tensor:
    """Return σ as a tensor; one that is a tensor already keeps its gradient."""
    if isinstance(noise_std, Tensor):
        return noise_std.to(like)
    return like.new_tensor(check_positive(noise_std, "noise_std"))


def kernel_diagonal(kernel: Kernel, x: Tensor, *, chunk: int) -> Float[Tensor, " n"]:
    """Return k(x_i, x_i) of each point.

    This package's kernels have a method for it; of a plain function it is taken from blocks of
    `chunk` points at most.
    """
    own: Callable[[Tensor], Tensor] | None = getattr(kernel, "diagonal", None)
    if own is not None:
        return own(x)
    size = min(chunk, DIAGONAL_CHUNK)
    return torch.cat([kernel(some).diagonal() for some in torch.split(x, size)])
