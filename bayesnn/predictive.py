"""The predictive distribution that every method returns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.checks import as_finite_tensor, check_count
from bayesnn.seeds import seeded_generator
from bayesnn.student_t import t_log_density, t_quantile, welch_satterthwaite

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class Predictive:
    """Predictive distribution of observations, the model's uncertainty and the noise apart.

    The observation at a point has mean `mean` and variance `epistemic_variance + noise_variance`.
    Known moments (`n_members=None`) give Gaussian intervals, quantiles and densities. Moments that
    were estimated from M members give Student-t ones, which are wider: scale² = s²(1 + 1/M) + σ²
    with Welch–Satterthwaite degrees of freedom. For members that are Gaussian posterior samples an
    interval then covers what it says for few members too: exactly so without noise, and with it to
    1 % for 5 members or more (at worst, a 95 % interval of 3 members covers 92 %, of 2, 87 %).

    All arguments are keyword only; the object is immutable, and its tensors carry no gradients.

    Args:
        mean: predictive mean, of shape [n] or [n, outputs].
        epistemic_variance: variance of the function, like `mean`; None if one member alone is
            known.
        noise_variance: variance of the observation noise, broadcastable to `mean`; known.
        n_members: number of members behind the moments; None where the moments are exact.
        members: the members themselves, [n_members, *mean.shape], where they were kept.
        covariance: joint covariance of the function without the noise, [n, n] or [outputs, n, n].

    Raises:
        ValueError: shapes that do not fit, variances below zero, or a missing variance.

    Example:
        >>> post = Predictive(
        ...     mean=torch.zeros(2), epistemic_variance=torch.ones(2), noise_variance=3.0
        ... )
        >>> post.std
        tensor([2., 2.])
        >>> lower, upper = post.interval(0.95)
        >>> upper
        tensor([3.9199, 3.9199])
    """

    __slots__ = ("_covariance", "_epistemic", "_mean", "_members", "_n_members", "_noise")

    def __init__(
        self,
        *,
        mean: Tensor,
        epistemic_variance: Tensor | None,
        noise_variance: Tensor | float,
        n_members: int | None = None,
        members: Tensor | None = None,
        covariance: Tensor | None = None,
    ) -> None:
        if not mean.is_floating_point():
            raise ValueError(f"mean: expected a floating-point tensor, got {mean.dtype}.")
        self._mean = mean.detach()
        self._n_members = n_members if n_members is None else check_count(n_members, "n_members")
        self._epistemic = self._checked_epistemic(epistemic_variance)
        noise = _detached(torch.as_tensor(noise_variance), self._mean)
        try:
            self._noise = noise.expand(mean.shape)
        except RuntimeError as error:
            raise ValueError(
                f"noise_variance: expected a shape that broadcasts to {tuple(mean.shape)}, "
                f"got {tuple(noise.shape)}."
            ) from error
        _check_variance(noise, "noise_variance")
        self._members = None if members is None else _detached(members, self._mean)
        if self._members is not None and self._members.shape != (n_members, *mean.shape):
            raise ValueError(
                f"members: expected shape {(n_members, *mean.shape)} (n_members first), "
                f"got {tuple(self._members.shape)}."
            )
        self._covariance = None if covariance is None else _detached(covariance, self._mean)
        joint = (*mean.shape[1:], *mean.shape[:1], *mean.shape[:1])
        if self._covariance is not None and self._covariance.shape != joint:
            raise ValueError(
                f"covariance: expected shape {joint}, got {tuple(self._covariance.shape)}."
            )

    @classmethod
    def from_members(
        cls,
        members: Float[Tensor, "members n"] | Float[Tensor, "members n outputs"],
        noise_variance: Tensor | float,
        *,
        keep_members: bool = False,
    ) -> Predictive:
        """Summarise an ensemble's outputs by their mean and unbiased variance.

        The variance is taken from deviations in two passes, never as E[x²] − E[x]², so that it
        stays right in float32 however large the mean is.

        Args:
            members: each member's function values.
            noise_variance: variance of the observation noise, broadcastable to one member.
            keep_members: keep the members, for joint samples; otherwise two moments a point stay.

        Returns:
            The predictive distribution; with a single member it has a mean only.

        Example:
            >>> members = torch.tensor([[1e6], [1e6 + 2]])
            >>> Predictive.from_members(members, 0.0).epistemic_variance
            tensor([2.])
        """
        members = members.detach()
        n_members = members.shape[0]
        deviations = members - members[0]  # small numbers, whatever the mean is
        offset = deviations.mean(0)
        variance = (
            None if n_members == 1 else (deviations - offset).square().sum(0) / (n_members - 1)
        )
        return cls(
            mean=members[0] + offset,
            epistemic_variance=variance,
            noise_variance=noise_variance,
            n_members=n_members,
            members=members if keep_members else None,
        )

    def _checked_epistemic(self, variance: Tensor | None) -> Tensor | None:
        if self._n_members == 1:
            return None
        if variance is None:
            raise ValueError("epistemic_variance: expected a tensor, got None with n_members != 1.")
        variance = _detached(variance, self._mean)
        if variance.shape != self._mean.shape:
            raise ValueError(
                f"epistemic_variance: expected the mean's shape {tuple(self._mean.shape)}, "
                f"got {tuple(variance.shape)}."
            )
        _check_variance(variance, "epistemic_variance")
        return variance

    @property
    def mean(self) -> Tensor:
        """Predictive mean, [n] or [n, outputs]."""
        return self._mean

    @property
    def n_members(self) -> int | None:
        """How many members the moments were estimated from; None where they are exact."""
        return self._n_members

    @property
    def members(self) -> Tensor | None:
        """Each member's function values, [n_members, *mean.shape]; None if they were not kept."""
        return self._members

    @property
    def covariance(self) -> Tensor | None:
        """Joint covariance of the function, without the noise; None where only marginals exist."""
        return self._covariance

    @property
    def epistemic_variance(self) -> Tensor:
        """Variance of the function: what more data would remove.

        Raises:
            ValueError: there is only one member.
        """
        if self._epistemic is None:
            raise ValueError(
                "epistemic_variance: one member has no spread, so the uncertainty is unknown; "
                "use at least 2 members (20 or more give steady intervals)."
            )
        return self._epistemic

    @property
    def noise_variance(self) -> Tensor:
        """Variance of the observation noise, in full shape."""
        return self._noise

    @property
    def variance(self) -> Tensor:
        """Variance of an observation: epistemic plus noise."""
        return self.epistemic_variance + self._noise

    @property
    def std(self) -> Tensor:
        """Standard deviation of an observation, noise included."""
        return self.variance.sqrt()

    def quantile(self, q: float) -> Tensor:
        """Value that an observation stays below with probability q, point by point.

        Args:
            q: probability, strictly between 0 and 1.

        Returns:
            Quantiles, like `mean`.

        Raises:
            ValueError: q outside (0, 1), or only one member.
        """
        if not 0 < q < 1:
            raise ValueError(f"q: expected a probability strictly between 0 and 1, got {q!r}.")
        return self._mean + self._quantile_offset(q)

    def interval(self, level: float) -> tuple[Tensor, Tensor]:
        """Central interval that holds an observation with probability `level`, point by point.

        Args:
            level: probability in [0, 1), such as 0.95.

        Returns:
            Lower and upper ends, each like `mean`.

        Raises:
            ValueError: level outside [0, 1), or only one member.
        """
        if not 0 <= level < 1:
            raise ValueError(f"level: expected a probability in [0, 1), got {level!r}.")
        half = self._quantile_offset(0.5 + level / 2)
        return self._mean - half, self._mean + half

    def sample(self, n: int, *, seed: int | torch.Generator = 0) -> Tensor:
        """Draw observations whose mean and covariance are this distribution's.

        With members or a covariance the points of one draw are correlated as they should be: a draw
        is mean + Σ_m z_m·(member_m − mean)/√(M − 1), or mean + L·z with LLᵀ = covariance, with
        Gaussian z, plus independent noise. Otherwise the points are independent.

        Args:
            n: number of draws.
            seed: seed or generator (on the CPU) of the draws.

        Returns:
            Observations, noise included, of shape [n, *mean.shape].

        Raises:
            ValueError: n below 1, only one member, or a covariance that is not positive
                semi-definite.
        """
        n = check_count(n, "n")
        generator = seed if isinstance(seed, torch.Generator) else seeded_generator(seed)
        epistemic = self.epistemic_variance

        def draw(*shape: int) -> Tensor:
            drawn = torch.randn(*shape, generator=generator, dtype=self._mean.dtype)
            return drawn.to(self._mean.device)

        noise = draw(n, *self._mean.shape) * self._noise.sqrt()
        if self._members is not None:
            n_members = self._members.shape[0]
            roots = (self._members - self._mean).flatten(1) / math.sqrt(n_members - 1)
            function = (draw(n, n_members) @ roots).reshape(n, *self._mean.shape)
        elif self._covariance is not None:
            root = _matrix_root(self._covariance)
            z = draw(n, *root.shape[:-1])
            function = torch.einsum("...ij,s...j->s...i", root, z)
            function = function.movedim(-1, 1)
        else:
            function = draw(n, *self._mean.shape) * epistemic.sqrt()
        return self._mean + function + noise

    def log_prob(self, y: ArrayLike | Tensor) -> Tensor:
        """Log density of an observation at each point.

        Args:
            y: observations, shaped like `mean`.

        Returns:
            Marginal log densities, like `mean`; their sum is no joint density.

        Raises:
            ValueError: y of another shape or not finite, a variance of 0, or only one member.
        """
        values = as_finite_tensor(y, "y", ndim=(self._mean.ndim,), dtype=self._mean.dtype)
        if values.shape != self._mean.shape:
            raise ValueError(
                f"y: expected the mean's shape {tuple(self._mean.shape)}, "
                f"got {tuple(values.shape)}; reshape it."
            )
        scale, degrees = self._scale()
        if not bool((scale > 0).all()):
            raise ValueError("log_prob: a point has variance 0, so no density; add noise_variance.")
        z = (values.to(scale.device) - self._mean) / scale
        if degrees is None:
            standard = -0.5 * (z.square() + math.log(2 * math.pi))
        else:
            standard = t_log_density(z, degrees)
        return standard - scale.log()

    def __repr__(self) -> str:
        behind = "exact moments" if self._n_members is None else f"{self._n_members} members"
        return f"Predictive(shape={tuple(self._mean.shape)}, {behind})"

    def _quantile_offset(self, q: float) -> Tensor:
        scale, degrees = self._scale()
        if degrees is None:
            standard = torch.special.ndtri(torch.tensor(q, dtype=torch.float64))
            return scale * float(standard)
        return scale * t_quantile(q, degrees)

    def _scale(self) -> tuple[Tensor, Tensor | None]:
        if self._n_members is None:
            return self.std, None
        scale2, degrees = welch_satterthwaite(
            self.epistemic_variance, self._noise.contiguous(), self._n_members
        )
        return scale2.sqrt(), degrees


def _detached(value: Tensor, like: Tensor) -> Tensor:
    return value.detach().to(device=like.device, dtype=like.dtype)


def _check_variance(variance: Tensor, name: str) -> None:
    if not bool((variance >= 0).all()):  # NaN fails too
        raise ValueError(f"{name}: expected values of at least 0, got some below it or NaN.")


def _matrix_root(covariance: Tensor) -> Tensor:
    # by eigenvectors, because posterior covariances are often singular
    values, vectors = torch.linalg.eigh(covariance.double())
    rounding = 1e-4 if covariance.dtype == torch.float32 else 1e-8
    if bool((values[..., 0] < -rounding * values[..., -1].abs()).any()):
        raise ValueError(
            "covariance: expected a positive semi-definite matrix, got an eigenvalue of "
            f"{float(values.min()):.3g} beside {float(values.max()):.3g}."
        )
    root: Tensor = vectors * values.clamp(min=0).sqrt().unsqueeze(-2)
    return root.to(covariance.dtype)
