"""From members' values to the predictive distribution of a regression, in y's units."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.predictive import Predictive
from ensembles.likelihoods.protocol import RegressionLikelihood
from ensembles.prediction import JOINT_BUDGET, check_covariance_fits, member_covariance
from ensembles.rows import Rows
from ensembles.standardizer import Standardizer


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Mean and variances at some points, in y's units.

    Attributes:
        mean: predictive mean.
        epistemic: unbiased variance over members; None of a single member.
        noise: variance of y about the function.
    """

    mean: Float[Tensor, "n k"]
    epistemic: Float[Tensor, "n k"] | None
    noise: Float[Tensor, "n k"]


@dataclass(frozen=True, kw_only=True)
class RegressionSummary:
    """How members' values become moments of y.

    Attributes:
        likelihood: what the values say about y.
        noise_std: σ of each output in y's units, where it is constant.
        units: from the network's units of y to the user's.
    """

    likelihood: RegressionLikelihood
    noise_std: Float[Tensor, " k"]
    units: Standardizer

    def moments(self, values: Float[Tensor, "m n o"]) -> Moments:
        """Return the moments of one chunk, by deviations in two passes, never E[x²] − E[x]²."""
        noise_std = (self.noise_std / self.units.y_scale).to(values)
        function = self.likelihood.function(values)
        deviations = function - function[0]  # small numbers, whatever the mean is
        offset = deviations.mean(0)
        mean = self.units.values_in_y_units(function[0] + offset)
        epistemic = None
        if len(function) > 1:
            epistemic = (deviations - offset).square().sum(0) / (len(function) - 1)
            epistemic = self._variance(epistemic)
        noise = self._variance(self.likelihood.noise_variance(values, noise_std))
        return Moments(mean=mean, epistemic=epistemic, noise=noise.expand(mean.shape))

    def mean_and_std(
        self, values: Float[Tensor, "m n o"]
    ) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n k"]]:
        """Return the mean and the standard deviation of y, of two members or more."""
        moments = self.moments(values)
        assert moments.epistemic is not None
        return moments.mean, (moments.epistemic + moments.noise).sqrt()

    def _variance(self, variance: Tensor) -> Tensor:
        """Return a variance in y's units."""
        return (variance.double() * self.units.y_scale**2).to(variance.dtype)

    def posterior(
        self,
        chunks: Iterable[Float[Tensor, "m _ o"]],
        *,
        flat: bool,
        keep_members: bool,
        covariance: bool,
        memory_budget: int | None,
    ) -> Predictive:
        """Return the predictive distribution at all points.

        Args:
            chunks: members' values, chunk after chunk of the points.
            flat: whether y has one dimension.
            keep_members: keep each member's values too, members × n × outputs numbers.
            covariance: also the joint covariance of the function, without the noise.
            memory_budget: bytes that a covariance and its members may take; 1 GiB by default.

        Raises:
            ValueError: a covariance of one member, or one that the budget does not hold.
        """
        mean, epistemic, noise = Rows(), Rows(), Rows()
        kept: list[Tensor] = []
        n_members = 1
        for values in chunks:
            n_members = len(values)
            part = self.moments(values)
            mean.add(part.mean)
            noise.add(part.noise)
            if part.epistemic is not None:
                epistemic.add(part.epistemic)
            if keep_members or covariance:
                kept.append(self.likelihood.function(values))
            if covariance:
                self._check_joint(kept, memory_budget or JOINT_BUDGET)
        members = torch.cat(kept, dim=1) if kept else None
        joint = None
        if covariance and members is not None:
            joint = member_covariance(members)
            joint = (joint.double() * self.units.y_scale[:, None, None] ** 2).to(members.dtype)
        if keep_members and members is not None:
            members = self.units.values_in_y_units(members)

        def shaped(values: Tensor) -> Tensor:
            return values.squeeze(-1) if flat else values

        return Predictive(
            mean=shaped(mean.joined()),
            epistemic_variance=shaped(epistemic.joined()) if n_members > 1 else None,
            noise_variance=shaped(noise.joined()),
            n_members=n_members,
            members=shaped(members) if keep_members and members is not None else None,
            covariance=joint[0] if flat and joint is not None else joint,
        )

    @staticmethod
    def _check_joint(kept: list[Tensor], budget: int) -> None:
        one = kept[0]
        if len(one) == 1:
            raise ValueError(
                "covariance: one member has no spread, so it is unknown; use at least 2 members."
            )
        n_points = sum(part.shape[1] for part in kept)
        check_covariance_fits(len(one), n_points, one.shape[2], one.element_size(), budget)
