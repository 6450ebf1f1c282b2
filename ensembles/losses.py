"""Losses of one datum: negative log likelihoods, up to constants and, for squares, a factor σ²."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Loss(Protocol):
    """What members minimise, summed over the data; a frozen dataclass.

    The regulariser beside it is pull/2 · ‖θ − c‖²_Λ.
    """

    @property
    def pull(self) -> float:
        """The factor of the regulariser: 1 for a negative log likelihood, σ̄² for squares."""
        ...

    def __call__(self, values: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each datum [..., n] for f̃ [..., n, k] and targets [..., n, t]."""
        ...


@dataclass(frozen=True, kw_only=True)
class SquaredError:
    """½ Σ_k (w_k (y_k − f̃_k))² with w = σ̄/σ_k and σ̄ the least σ: σ̄² times the Gaussian's.

    Attributes:
        noise_std: σ of each output.
    """

    noise_std: Float[Tensor, " k"]

    @property
    def pull(self) -> float:
        """σ̄²."""
        return float(self.noise_std.min()) ** 2

    @property
    def output_weight(self) -> Float[Tensor, " k"]:
        """The weights w."""
        return self.noise_std.min() / self.noise_std

    def __call__(
        self, values: Float[Tensor, "*m n k"], targets: Float[Tensor, "*m n k"]
    ) -> Float[Tensor, "*m n"]:
        """Return half the weighted squared residual of each datum."""
        residual = self.output_weight.to(values) * (targets - values)
        return 0.5 * (residual**2).sum(-1)


@dataclass(frozen=True, kw_only=True)
class GaussianError:
    """½ Σ_k ((y_k − f̃_k)²/v_k + log v_k): the Gaussian's, with a variance that is an output too.

    The gradient of each target's part is multiplied by (v_k/σ_k²)^β, as if that were a constant:
    with β = 0 data of small v pull hardest, and what is not yet fitted is taken for noise; with
    β = 1 the means are fitted as if the noise were the same everywhere (Seitzer et al., 2022,
    arXiv 2203.09168, with σ as the unit of v so that the regulariser keeps its share).

    Attributes:
        noise_std: σ of each target, about which v varies.
        scale: log v = log σ² + B·tanh(scale·a/B), with a the output for v.
        bound: B.
        beta: β.
    """

    noise_std: Float[Tensor, " k"]
    scale: float
    bound: float
    beta: float
    pull: ClassVar[float] = 1.0

    def log_variance(self, values: Float[Tensor, "*m n o"]) -> Float[Tensor, "*m n k"]:
        """Return log v of each target, from the second half of the outputs."""
        return _log_variance(values, self.noise_std, scale=self.scale, bound=self.bound)

    def __call__(
        self, values: Float[Tensor, "*m n o"], targets: Float[Tensor, "*m n k"]
    ) -> Float[Tensor, "*m n"]:
        """Return the loss of each datum; the outputs are the k means, then the k for variances."""
        log_variance = self.log_variance(values)
        residual = targets - values[..., : self.noise_std.shape[0]]
        each = 0.5 * (residual**2 * (-log_variance).exp() + log_variance)
        return _weighted(each, log_variance, self.noise_std, beta=self.beta).sum(-1)


@dataclass(frozen=True, kw_only=True)
class StudentError:
    """½ Σ_k ((ν + 1) log(1 + (y_k − f̃_k)²/((ν − 2)v_k)) + log v_k): Student's t of variance v_k.

    Far residuals pull less than in `GaussianError`, by 1/(1 + residual²/((ν − 2)v)); all else is as
    there.

    Attributes:
        noise_std: σ of each target, about which v varies.
        degrees_of_freedom: ν, above 2.
        scale: log v = log σ² + B·tanh(scale·a/B), with a the output for v.
        bound: B.
        beta: gradients are multiplied by (v/σ²)^β.
    """

    noise_std: Float[Tensor, " k"]
    degrees_of_freedom: float
    scale: float
    bound: float
    beta: float
    pull: ClassVar[float] = 1.0

    def log_variance(self, values: Float[Tensor, "*m n o"]) -> Float[Tensor, "*m n k"]:
        """Return log v of each target, from the second half of the outputs."""
        return _log_variance(values, self.noise_std, scale=self.scale, bound=self.bound)

    def __call__(
        self, values: Float[Tensor, "*m n o"], targets: Float[Tensor, "*m n k"]
    ) -> Float[Tensor, "*m n"]:
        """Return the loss of each datum; the outputs are the k means, then the k for variances."""
        nu, log_variance = self.degrees_of_freedom, self.log_variance(values)
        residual = targets - values[..., : self.noise_std.shape[0]]
        far = torch.log1p(residual**2 * (-log_variance).exp() / (nu - 2))
        each = 0.5 * ((nu + 1) * far + log_variance)
        return _weighted(each, log_variance, self.noise_std, beta=self.beta).sum(-1)


def _log_variance(
    values: Float[Tensor, "*m n o"], noise_std: Float[Tensor, " k"], *, scale: float, bound: float
) -> Float[Tensor, "*m n k"]:
    change = bound * torch.tanh(scale / bound * values[..., noise_std.shape[0] :])
    return change + 2 * noise_std.log().to(values)


def _weighted(
    each: Float[Tensor, "*m n k"],
    log_variance: Float[Tensor, "*m n k"],
    noise_std: Float[Tensor, " k"],
    *,
    beta: float,
) -> Float[Tensor, "*m n k"]:
    """Return the same values, their gradients multiplied by (v/σ²)^β."""
    change = log_variance.detach() - 2 * noise_std.log().to(each)
    weighted = (beta * change).exp() * each
    return (each - weighted).detach() + weighted


@dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """log Σ_c exp f̃_c − Σ_c y_c f̃_c: the categorical's, for one-hot y."""

    pull: ClassVar[float] = 1.0

    def __call__(
        self, values: Float[Tensor, "*m n c"], targets: Float[Tensor, "*m n c"]
    ) -> Float[Tensor, "*m n"]:
        """Return the loss of each datum."""
        return values.logsumexp(-1) - (targets * values).sum(-1)
