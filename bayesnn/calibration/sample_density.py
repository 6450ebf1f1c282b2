"""Negative log likelihood of samples, through a density that is made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from bayesnn.calibration.chunks import MEMORY_BUDGET, by_chunks
from bayesnn.calibration.gaussian_mixture_scores import nll_gaussian_mixture
from bayesnn.calibration.inputs import with_members
from bayesnn.calibration.sample_quantiles import sample_quantile_intervals
from bayesnn.checks import as_finite_tensor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_HELD = 4
"""Arrays of a chunk's size at once: the samples, ordered, their places, their deviations."""
_NORMAL_RANGE = 1.34
"""Distance between the quartiles of a standard Gaussian, as Silverman rounds it."""


def nll_samples(
    y: ArrayLike | Tensor,
    samples: ArrayLike | Tensor,
    *,
    bandwidth: ArrayLike | Tensor | None = None,
    memory_budget: int = MEMORY_BUDGET,
) -> Tensor:
    """Mean negative log likelihood of y under a Gaussian kernel density of samples, in nats.

    −log (1/m) Σ_k N(y; x_k, h²), averaged over all points; lower is better. Samples have no density
    of their own: h is part of the score, and what is scored is wider than the samples by h. For
    samples of few members, or for y in their tails, it says more of h than of them; `crps_samples`
    needs no h, and a predictive distribution in closed form has its own negative log likelihood.

    Args:
        y: what was observed, of any shape.
        samples: x, [samples, *y.shape].
        bandwidth: h, above 0, like `y` or a single number; by default Silverman's rule at each
            point, 1.06·min(s, quartile range/1.34)·m^(−1/5).
        memory_budget: bytes that intermediate values may take.

    Returns:
        The mean over all points, a tensor without dimensions.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, an h not above 0, or, where
            none is given, one sample alone or samples whose middle half is one value.

    Source:
        B. W. Silverman, Density Estimation for Statistics and Data Analysis, 1986, section 3.4.2.

    Example:
        >>> round(float(nll_samples([0.0], [[0.0], [0.0]], bandwidth=1.0)), 4)
        0.9189
    """
    observed, (values,) = with_members(y, samples=samples)
    flat = values.flatten(1) if values.ndim > 1 else values[:, None]
    if bandwidth is None:
        width = _silverman(flat, memory_budget)
    else:
        width = as_finite_tensor(bandwidth, "bandwidth", ndim=range(16)).to(flat)
        if width.ndim and width.shape != observed.shape:
            raise ValueError(
                f"bandwidth: expected the shape {tuple(observed.shape)} of y or a single number, "
                f"got {tuple(width.shape)}."
            )
        width = width.flatten()
        if not bool((width > 0).all()):
            raise ValueError(f"bandwidth: expected values above 0, got {float(width.min()):.3g}.")
    return nll_gaussian_mixture(
        observed.flatten(), flat, width.expand_as(flat), memory_budget=memory_budget
    )


def _silverman(samples: Float[Tensor, "m n"], memory_budget: int) -> Float[Tensor, " n"]:
    m = len(samples)

    def width(some: Tensor) -> Tensor:
        lower, upper = sample_quantile_intervals(some)(0.5)
        spread = some.std(0).minimum((upper - lower) / _NORMAL_RANGE)
        return spread.mul(1.06 * float(m) ** -0.2)

    if m > 1:
        found = by_chunks(width, samples, numbers_per_point=_HELD * m, memory_budget=memory_budget)
        if bool((found > 0).all()):
            return found
    raise ValueError(
        f"samples: expected two or more that differ at each point, got {m} whose middle half is one"
        " value somewhere: there is no density to guess; give a bandwidth."
    )
