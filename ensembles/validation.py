"""Are an ensemble's members samples of a known Gaussian? Errors with error bars, and a test."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.files import atomic_write, check_writable
from bayesnn.reference_file import Reference
from bayesnn.seeds import seeded_generator

if TYPE_CHECKING:
    from ensembles.estimators import EnsembleRegressor

NEAR = 0.1  # a point is near the data if they leave less than this part of its prior variance
DIRECTIONS = 12  # principal directions of the reference that the test looks at, at most
_SIMULATIONS = 4000  # of the test's statistic under the null hypothesis


@dataclass(frozen=True, kw_only=True)
class PointErrors:
    """Errors over a set of test points, each with its Monte-Carlo standard error.

    Attributes:
        n_points: how many points.
        mean_error: mean of |mean − reference| in reference standard deviations.
        mean_error_floor: what exact samples, as many as there are members, would score.
        std_ratio: mean of the standard deviations' ratio, ensemble over reference.
        std_ratio_error: its standard error for exact samples, from the reference's correlations.
        least_std_ratio: the smallest at any of the points.
        largest_std_ratio: the largest.
    """

    n_points: int
    mean_error: float
    mean_error_floor: float
    std_ratio: float
    std_ratio_error: float
    least_std_ratio: float
    largest_std_ratio: float


@dataclass(frozen=True, kw_only=True)
class Validation:
    """How an ensemble compares with a reference posterior; `print` shows the table.

    Attributes:
        distribution: what the reference is.
        n_members: number of members.
        all_points: errors over all test points.
        near: errors where the data leave less than a tenth of the prior variance; None if nowhere.
        far: errors elsewhere; None if nowhere.
        covariance_error: ‖C − C_ref‖/‖C_ref‖ in the Frobenius norm.
        covariance_error_floor: what exact samples would score, on average.
        n_directions: principal directions that the test looked at.
        p_value: probability that samples of the reference are at least as unlike it.
        p_mean: the same for the members' mean alone.
        p_covariance: the same for the members' covariance alone.
    """

    distribution: str
    n_members: int
    all_points: PointErrors
    near: PointErrors | None
    far: PointErrors | None
    covariance_error: float
    covariance_error_floor: float
    n_directions: int
    p_value: float
    p_mean: float
    p_covariance: float

    def accepts(self, level: float = 0.01) -> bool:
        """Return whether the members may be samples; false alarms come at the rate `level`."""
        return self.p_value >= level

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON."""
        return asdict(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report as JSON.

        Args:
            path: the file to be written or replaced.

        Raises:
            ValueError: the path cannot be written.
        """
        with atomic_write(check_writable(path)) as temporary:
            temporary.write_text(json.dumps(self.to_dict(), indent=1) + "\n")

    def __str__(self) -> str:
        """Return the table."""
        head = f"{self.n_members} members against {self.distribution}"
        lines = [
            head,
            f"{'points':<12}{'n':>5}  {'mean error / sd':>22}  {'sd ratio':>18}   least   most",
        ]
        for name, part in (("all", self.all_points), ("near data", self.near), ("far", self.far)):
            if part is not None:
                lines.append(
                    f"{name:<12}{part.n_points:>5}  "
                    f"{part.mean_error:>8.3f} (exact {part.mean_error_floor:.3f})  "
                    f"{part.std_ratio:>8.3f} ± {part.std_ratio_error:<7.3f}  "
                    f"{part.least_std_ratio:>6.2f} {part.largest_std_ratio:>6.2f}"
                )
        lines.append(
            f"covariance error {self.covariance_error:.3f} (exact samples: "
            f"{self.covariance_error_floor:.3f})"
        )
        lines.append(
            f"samples of the reference? p = {self.p_value:.4f} in {self.n_directions} directions "
            f"(mean {self.p_mean:.4f}, covariance {self.p_covariance:.4f})"
        )
        return "\n".join(lines)


def validate(model: EnsembleRegressor, reference: Reference) -> Validation:
    """Compare a fitted ensemble of one output with a reference posterior for the same data.

    The test of "these members are samples of that Gaussian" whitens the members along the principal
    directions of the reference covariance, at most a third of the members, and takes the likelihood
    ratio against any other Gaussian. Its distribution under the null hypothesis depends on the
    numbers of members and directions alone, and is simulated, so that the false-alarm rate is
    the level (Anderson, 2003, chapter 10).

    Args:
        model: a fitted ensemble of at least 6 members, of one output.
        reference: the posterior of `bayesnn.interop.neural_tangents.reference_posterior`.

    Returns:
        Errors, their Monte-Carlo error bars, and p-values.

    Raises:
        ValueError: too few members, several outputs, or data of another width.
    """
    members = model.posterior(reference.x_test, keep_members=True).members
    if members is None or members.shape[0] < 6:
        raise ValueError("model: expected an ensemble of at least 6 members for a comparison.")
    values = members.detach().cpu().double().reshape(members.shape[0], -1)
    return compare_members(values, reference)


def compare_members(members: Float[Tensor, "m n"], reference: Reference) -> Validation:
    """Compare the members' values at the reference's test points with the reference.

    Args:
        members: values, [members, points].
        reference: the Gaussian, of one output.

    Returns:
        As `validate`.

    Raises:
        ValueError: another number of points, or a reference of several outputs.
    """
    mean, covariance = (
        reference.mean,
        reference.covariance.reshape(-1, reference.covariance.shape[-1]),
    )
    if mean.ndim != 2 or mean.shape[1] != 1 or members.shape[1] != mean.shape[0]:
        raise ValueError(
            f"members: expected values at {mean.shape[0]} points of one output, got "
            f"{tuple(members.shape)} for a reference of shape {tuple(mean.shape)}."
        )
    mean = mean.squeeze(1)
    near = covariance.diagonal() < NEAR * reference.prior_variance
    errors = [
        _errors(members[:, mask], mean[mask], covariance[mask][:, mask])
        if bool(mask.any())
        else None
        for mask in (torch.ones_like(near), near, ~near)
    ]
    assert errors[0] is not None
    found = torch.cov(members.T)
    m = members.shape[0]
    square, trace = covariance.square().sum(), covariance.trace()
    floor = ((trace**2 + square) / ((m - 1) * square)).sqrt()
    p_value, p_mean, p_covariance, n_directions = _test(members, mean, covariance)
    return Validation(
        distribution=reference.distribution,
        n_members=m,
        all_points=errors[0],
        near=errors[1],
        far=errors[2],
        covariance_error=float((found - covariance).norm() / covariance.norm()),
        covariance_error_floor=float(floor),
        n_directions=n_directions,
        p_value=p_value,
        p_mean=p_mean,
        p_covariance=p_covariance,
    )


def _errors(
    members: Float[Tensor, "m n"], mean: Float[Tensor, " n"], covariance: Float[Tensor, "n n"]
) -> PointErrors:
    m, n = members.shape
    std = covariance.diagonal().sqrt()
    ratio = members.std(0) / std
    correlation = covariance / torch.outer(std, std)
    # sample standard deviations at two points have the correlation ρ² to first order
    ratio_error = (correlation.square().sum() / (2 * (m - 1))).sqrt() / n
    return PointErrors(
        n_points=n,
        mean_error=float(((members.mean(0) - mean).abs() / std).mean()),
        mean_error_floor=math.sqrt(2 / math.pi / m),
        std_ratio=float(ratio.mean()),
        std_ratio_error=float(ratio_error),
        least_std_ratio=float(ratio.min()),
        largest_std_ratio=float(ratio.max()),
    )


def _test(
    members: Float[Tensor, "m n"], mean: Float[Tensor, " n"], covariance: Float[Tensor, "n n"]
) -> tuple[float, float, float, int]:
    """Return p-values of both statistics together, of the mean, of the covariance, and r."""
    m = members.shape[0]
    eigenvalues, vectors = torch.linalg.eigh(covariance)
    sizeable = int((eigenvalues > 1e-8 * eigenvalues[-1]).sum())
    r = max(1, min(DIRECTIONS, m // 3, sizeable))
    white = (members - mean) @ vectors[:, -r:] / eigenvalues[-r:].sqrt()
    found = _statistics(white.unsqueeze(0))
    null = _null(m, r)
    p_mean, p_covariance = (
        (1 + (null[:, i] >= found[0, i]).sum().item()) / (1 + len(null)) for i in (0, 1)
    )
    total = (1 + (null.sum(1) >= found.sum()).sum().item()) / (1 + len(null))
    return float(total), float(p_mean), float(p_covariance), r


@cache
def _null(m: int, r: int) -> Float[Tensor, "s 2"]:
    """Return draws of both statistics for samples of the reference, whatever it is."""
    generator = seeded_generator(0, m, r)
    parts = []
    for _ in range(0, _SIMULATIONS, 500):
        draws = torch.randn(500, m, r, generator=generator, dtype=torch.float64)
        parts.append(_statistics(draws))
    return torch.cat(parts)


def _statistics(white: Float[Tensor, "s m r"]) -> Float[Tensor, "s 2"]:
    """Return m·‖z̄‖² and m·(tr S − log det S − r): the likelihood ratio's two parts."""
    m, r = white.shape[1:]
    mean = white.mean(1)
    centred = white - mean.unsqueeze(1)
    covariance = centred.mT @ centred / m
    volume = torch.linalg.slogdet(covariance).logabsdet
    trace = covariance.diagonal(dim1=1, dim2=2).sum(1)
    return torch.stack((m * mean.square().sum(1), m * (trace - volume - r)), dim=1)
