"""Are an ensemble's members samples of a known Gaussian? Errors with error bars, and a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from bayesnn.checks import as_finite_tensor
from bayesnn.predictive import Predictive
from bayesnn.reference_file import Reference
from ensembles.validation.gaussian_test import gaussian_test
from ensembles.validation.point_errors import (
    PointErrors,
    covariance_errors,
    near_data,
    point_errors,
)
from ensembles.validation.report import Curves, Validation
from ensembles.validation.target import Target, comparison_target

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ensembles.estimators import EnsembleRegressor

FEWEST = 6  # members: the test looks at a direction for every three of them


def validate(
    model: EnsembleRegressor,
    reference: Reference | Predictive,
    x_test: ArrayLike | Tensor | None = None,
    *,
    prior_variance: ArrayLike | Tensor | None = None,
) -> Validation:
    """Compare a fitted ensemble of one output with a reference posterior for the same data.

    The errors are those of the members' mean and standard deviation, in standard deviations of the
    reference, near the data and far from them apart. The test of "these members are samples of
    that Gaussian" whitens them along the principal directions of the reference's covariance and
    takes the likelihood ratio against any other Gaussian (Anderson, 2003, chapter 10); its
    false-alarm rate is the level that one chooses. RP-fn and NTKGP-fn members have no such
    Gaussian: for them the report describes, and the test does not apply.

    Args:
        model: a fitted ensemble of at least 6 members, of one output.
        reference: the posterior from a file of `bayesnn.interop.neural_tangents`, or from
            `bayesnn.gp.gp_posterior` or `bayesnn.gradient_flow`, with its covariance.
        x_test: the points that the reference is for, [n, ...]; None with one from a file, which
            has its own.
        prior_variance: variance of the function there before any data, [n], such as
            `kernel.diagonal(x_test)`: it tells near from far where the reference does not.

    Returns:
        Errors, their Monte-Carlo error bars, and p-values.

    Raises:
        ValueError: too few members, several outputs, points missing or of another shape.

    Example:
        >>> import torch
        >>> from bayesnn.gp import gp_posterior
        >>> from bayesnn.kernels import ntk
        >>> from bayesnn.networks import Erf, mlp
        >>> from ensembles import EnsembleRegressor
        >>> net = mlp(in_features=1, out_features=1, width=64, depth=1, activation=Erf())
        >>> x, y, points = [[0.0], [1.0]], [0.0, 1.0], torch.linspace(-2, 3, 6).unsqueeze(1)
        >>> exact = gp_posterior(ntk(net), x, y, points.double(), noise_std=0.3)
        >>> model = EnsembleRegressor(net, n_members=12, noise_std=0.3, random_state=0).fit(x, y)
        >>> validate(model, exact, points).all_points.n_points
        6
    """
    target = comparison_target(reference, x_test, prior_variance)
    members = model.posterior(target.points, keep_members=True).members
    if members is None:
        raise ValueError(f"model: expected an ensemble of at least {FEWEST} members, got 1.")
    if members[0].numel() != len(members[0]):
        raise ValueError(
            f"model: expected one output, got {members.shape[-1]}; fit and validate each by itself."
        )
    return _compare(members.detach().cpu().double().flatten(1), target)


def compare_members(
    members: Float[Tensor, "m n"],
    reference: Reference | Predictive,
    x_test: ArrayLike | Tensor | None = None,
    *,
    prior_variance: ArrayLike | Tensor | None = None,
) -> Validation:
    """Compare members' values at the reference's test points with the reference.

    Args:
        members: values of the function without noise, [members, points].
        reference: as for `validate`.
        x_test: as for `validate`; only the figure's axis with a reference from a file.
        prior_variance: as for `validate`.

    Returns:
        As `validate`.

    Raises:
        ValueError: another number of points, too few members, a reference of several outputs.

    Example:
        >>> import torch
        >>> post = Predictive(
        ...     mean=torch.zeros(2), epistemic_variance=torch.ones(2), noise_variance=0.0,
        ...     covariance=torch.eye(2),
        ... )
        >>> samples = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
        >>> compare_members(samples, post, torch.zeros(2, 1)).accepts()
        True
        >>> compare_members(3 * samples, post, torch.zeros(2, 1)).accepts()
        False
    """
    target = comparison_target(reference, x_test, prior_variance)
    return _compare(as_finite_tensor(members, "members", ndim=(2,)).detach().cpu().double(), target)


def _compare(members: Float[Tensor, "m n"], target: Target) -> Validation:
    mean, covariance = target.mean, target.covariance
    if len(members) < FEWEST:
        raise ValueError(
            f"members: expected an ensemble of at least {FEWEST} members, got {len(members)}."
        )
    if members.shape[1] != len(mean):
        raise ValueError(
            f"members: expected values at {len(mean)} points of one output, got "
            f"{tuple(members.shape)}."
        )
    near: Tensor | None = None
    parts: list[PointErrors | None] = [None, None]
    if target.prior_variance is not None:
        near = near_data(covariance.diagonal(), target.prior_variance)
        parts = [
            point_errors(members[:, which], mean[which], covariance[which][:, which])
            if bool(which.any())
            else None
            for which in (near, ~near)
        ]
    error, floor = covariance_errors(members, covariance)
    return Validation(
        distribution=target.name,
        n_members=len(members),
        all_points=point_errors(members, mean, covariance),
        near=parts[0],
        far=parts[1],
        covariance_error=error,
        covariance_error_floor=floor,
        test=gaussian_test(members, mean, covariance),
        curves=_curves(members, target, near),
    )


def _curves(members: Float[Tensor, "m n"], target: Target, near: Tensor | None) -> Curves:
    def numbers(values: Tensor) -> tuple[float, ...]:
        return tuple(values.double().cpu().flatten().tolist())

    line = target.points[0].numel() == 1
    return Curves(
        x=numbers(target.points) if line else None,
        mean=numbers(members.mean(0)),
        std=numbers(members.std(0)),
        reference_mean=numbers(target.mean),
        reference_std=numbers(target.covariance.diagonal().sqrt()),
        near=None if near is None else tuple(near.tolist()),
        data=(numbers(target.data[0]), numbers(target.data[1]))
        if line and target.data is not None
        else None,
    )
