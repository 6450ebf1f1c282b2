"""What members are compared with: a Gaussian over the values of one output at some points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from bayesnn.checks import as_finite_tensor
from bayesnn.predictive import Predictive
from bayesnn.reference_file import Reference

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, kw_only=True)
class Target:
    """The Gaussian, checked, in double precision on the CPU.

    Attributes:
        name: what it is.
        points: where, as the model takes them.
        mean: its mean.
        covariance: its covariance, without the noise.
        prior_variance: before any data; None where it is not known.
        data: inputs and targets behind it; None where they are not known.
    """

    name: str
    points: Tensor
    mean: Float[Tensor, " n"]
    covariance: Float[Tensor, "n n"]
    prior_variance: Float[Tensor, " n"] | None
    data: tuple[Tensor, Tensor] | None


def comparison_target(
    reference: Reference | Predictive,
    x_test: ArrayLike | Tensor | None,
    prior_variance: ArrayLike | Tensor | None,
) -> Target:
    """Return the Gaussian of a reference, or raise ValueError that says what does not fit."""
    points, prior, data = _own_parts(reference, x_test)
    if prior_variance is not None:
        prior = as_finite_tensor(prior_variance, "prior_variance", ndim=(1,))
    if reference.covariance is None:
        raise ValueError(
            "reference: expected a covariance; ask for it with posterior(..., covariance=True)."
        )
    mean = reference.mean.detach().cpu().double()
    n = len(mean)
    if mean.numel() != n:
        raise ValueError(f"reference: expected one output, got a mean of {tuple(mean.shape)}.")
    for given, what in ((points, "x_test"), (prior, "prior_variance")):
        if given is not None and len(given) != n:
            raise ValueError(f"{what}: expected {n} rows as in the reference, got {len(given)}.")
    covariance = reference.covariance.detach().cpu().double().reshape(n, n)
    if not bool((covariance.diagonal() > 0).all()):
        raise ValueError(
            "reference: its variance is 0 at some point, so nothing can be measured in it; leave "
            "that point out."
        )
    return Target(
        name=reference.distribution if isinstance(reference, Reference) else "the posterior",
        points=points,
        mean=mean.flatten(),
        covariance=covariance,
        prior_variance=None if prior is None else prior.detach().cpu().double(),
        data=data,
    )


def _own_parts(
    reference: Reference | Predictive, x_test: ArrayLike | Tensor | None
) -> tuple[Tensor, Tensor | None, tuple[Tensor, Tensor] | None]:
    """Return points, prior variance and data, as far as the reference has them."""
    if isinstance(reference, Reference):
        if x_test is not None:
            raise ValueError("x_test: expected None, as this reference has its own test points.")
        return reference.x_test, reference.prior_variance, (reference.x, reference.y)
    if not isinstance(reference, Predictive):
        raise ValueError(
            "reference: expected a Reference or a Predictive with its covariance, got "
            f"{type(reference).__name__}."
        )
    if x_test is None:
        raise ValueError("x_test: expected the points that the reference is for, got None.")
    return as_finite_tensor(x_test, "x_test", ndim=range(2, 5)), None, None
