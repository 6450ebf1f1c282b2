"""The Laplace approximation of a linearised model, by products and solves, without a matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.inference.conjugate_gradients import Map, Solution, conjugate_gradients
from bayesnn.inference.linearised import Linearised, Outputs
from bayesnn.inference.preconditioning import deflation
from bayesnn.seeds import seeded_generator

_ROUNDS = 8  # of the search for the prior's precision
_SETTLED = 0.2  # relative change of the precision in a round, below which it has settled
_FARTHEST = 1e3  # from the first precision
_PROBES = 16  # behind the preconditioner's diagonal


@runtime_checkable
class Curvature(Protocol):
    """The Hessian P of a quadratic function of a model's output, such as BᵀB."""

    def __call__(self, outputs: Outputs, /) -> Outputs:
        """Return P f of each f."""

    def draw(self, generator: torch.Generator, /) -> Float[Tensor, "*out"]:
        """Return one draw of N(0, P), such as Bᵀε; from the CPU, so that devices agree."""


@dataclass(frozen=True, kw_only=True)
class LaplacePosterior:
    """N(θ̂, H⁻¹) with H = Λ + Σ_k JᵀP_kJ, the generalised Gauss–Newton matrix of a model.

    A sample is drawn by solving a randomised problem: with ε ~ N(0, I) and b_k ~ N(0, P_k),

        δ = H⁻¹ (Λ^½ ε + Σ_k Jᵀ b_k)   has covariance   H⁻¹ (Λ + Σ_k JᵀP_kJ) H⁻¹ = H⁻¹.

    Conjugate gradients start from a draw of the prior, Λ^(−½) ε, so what they have not reached
    keeps the prior's spread: ending early errs to the wide side.

    Attributes:
        model: f linearised at θ̂.
        curvatures: P_k, of the likelihood and of priors on the output.
        prior_precision: the diagonal of Λ.
        precondition: M⁻¹, about H⁻¹.
        tolerance: of the solves, see `conjugate_gradients`.
        max_iterations: where solves stop regardless.

    Source:
        J. Antorán et al., Sampling-based inference for large linear models, with application to
        linearised Laplace, ICLR 2023.

    Example:
        >>> class Unit:
        ...     def __call__(self, outputs): return outputs
        ...     def draw(self, generator): return torch.randn(3, generator=generator)
        >>> model = Linearised(lambda p: p["x"] * torch.ones(3), {"x": torch.zeros(1)})
        >>> diagonal = curvature_diagonal(model, [Unit()], seed=0)
        >>> posterior = laplace_posterior(
        ...     model, [Unit()], torch.ones(1), data_diagonal=diagonal, seed=0
        ... )
        >>> round(float(posterior.sample(range(2000), seed=1).values.var()), 2)  # 1 / (1 + 3)
        0.25
    """

    model: Linearised
    curvatures: Sequence[Curvature]
    prior_precision: Float[Tensor, " n"]
    precondition: Map
    tolerance: float = 1e-3
    max_iterations: int = 1000

    def apply(self, vectors: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n"]:
        """Return H v of each v."""
        return self.prior_precision * vectors + self._data(vectors)

    def solve(
        self, right: Float[Tensor, "batch n"], start: Float[Tensor, "batch n"] | None = None
    ) -> Solution:
        """Return H⁻¹ b of each b."""
        return conjugate_gradients(
            self.apply,
            right,
            start=start,
            precondition=self.precondition,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
        )

    def sample(self, indices: range, *, seed: int) -> Solution:
        """Draw deviations δ = θ − θ̂; number i depends on the seed and i alone.

        Args:
            indices: the numbers of the samples, solved side by side.
            seed: seed of all samples.

        Returns:
            The deviations, with the residuals of their solves.
        """
        noise = torch.stack([
            torch.randn(
                self.model.at.numel(),
                generator=seeded_generator(seed, index, 0),
                dtype=torch.float32,  # of every dtype: the same draws
            )
            for index in indices
        ]).to(self.model.at)
        root = self.prior_precision.sqrt()
        right = root * noise
        if self.curvatures:
            right = right + self.model.adjoint(
                torch.stack([
                    sum(
                        (
                            curvature.draw(seeded_generator(seed, index, 1 + place))
                            for place, curvature in enumerate(self.curvatures)
                        ),
                        start=torch.zeros_like(self.model.output),
                    )
                    for index in indices
                ])
            )
        return self.solve(right, start=noise / root)

    def minimiser(self, output_gradient: Float[Tensor, "*out"]) -> Solution:
        """Return the θ that minimises the quadratic objective, by one Gauss–Newton step.

        θ = θ̂ − H⁻¹ (Jᵀg + Λθ̂), where g is the gradient, in the output, of all but the prior Λ.

        Args:
            output_gradient: g at f(θ̂).

        Returns:
            θ, one in the batch.
        """
        gradient = self.model.adjoint(output_gradient[None]) + self.prior_precision * self.model.at
        step = self.solve(gradient)
        return replace(step, values=self.model.at - step.values)

    def _data(self, vectors: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n"]:
        if not self.curvatures:
            return torch.zeros_like(vectors)
        outputs = self.model(vectors)
        return self.model.adjoint(
            sum((one(outputs) for one in self.curvatures), start=torch.zeros_like(outputs))
        )


def laplace_posterior(
    model: Linearised,
    curvatures: Sequence[Curvature],
    prior_precision: Float[Tensor, " n"],
    *,
    data_diagonal: Float[Tensor, " n"],
    seed: int,
    rank: int = 0,
    at_once: int = 1,
    tolerance: float = 1e-3,
    max_iterations: int = 1000,
) -> LaplacePosterior:
    """Make a posterior, with a preconditioner.

    Args:
        model: f linearised at θ̂.
        curvatures: Hessians of minus the log likelihood, and of priors on the output.
        prior_precision: the diagonal of Λ.
        data_diagonal: about the diagonal of Σ_k JᵀP_kJ (`curvature_diagonal`).
        seed: seed of the preconditioner's random vectors.
        rank: how many of the largest eigenvalues the preconditioner takes away, each for two
            products with H and a vector of θ's size in memory.
        at_once: products side by side while it is made.
        tolerance: of the solves.
        max_iterations: where solves stop regardless.

    Returns:
        The posterior.
    """
    diagonal = prior_precision + data_diagonal
    posterior = LaplacePosterior(
        model=model,
        curvatures=curvatures,
        prior_precision=prior_precision,
        precondition=lambda residual: residual / diagonal,
        tolerance=tolerance,
        max_iterations=max_iterations,
    )
    if rank == 0 or not curvatures:
        return posterior
    return replace(
        posterior,
        precondition=deflation(posterior.apply, diagonal, rank=rank, at_once=at_once, seed=seed),
    )


def curvature_diagonal(
    model: Linearised, curvatures: Sequence[Curvature], *, seed: int
) -> Float[Tensor, " n"]:
    """Return about the diagonal of Σ_k JᵀP_kJ, from random probes.

    With b ~ N(0, P), E[(Jᵀb)²] is the diagonal of JᵀPJ; a probe costs one product with Jᵀ.

    Args:
        model: f linearised at θ̂.
        curvatures: P_k.
        seed: seed of the probes.

    Returns:
        The mean over 16 probes: positive, to a third of its size.
    """
    diagonal = torch.zeros_like(model.at)
    for index in range(_PROBES):
        for place, curvature in enumerate(curvatures):
            probe = curvature.draw(seeded_generator(seed, index, place))
            diagonal += model.adjoint(probe[None])[0].square() / _PROBES
    return diagonal


def likeliest_prior_precision(
    without_and_with: Callable[[float], tuple[LaplacePosterior, LaplacePosterior]],
    output_gradient: Float[Tensor, "*out"],
    *,
    start: float,
    n_samples: int = 4,
    at_once: int = 1,
    seed: int,
) -> float:
    """Return the precision τ of the prior N(0, (τΛ)⁻¹) under which the data are the most likely.

    At the maximum of the marginal likelihood of the linear model, with θ*(τ) its minimiser,

        τ · θ*ᵀΛθ* = γ(τ) = E‖δ_prior‖² − E‖δ_posterior‖²   in the norm of τΛ,

    where γ counts the parameters that the data determine. The fixed point is iterated; both
    expectations are means over samples with common random numbers. Priors on the output stay in
    both.

    Args:
        without_and_with: from τ to the prior, that on the output included, and to the posterior.
        output_gradient: gradient, at f(θ̂), of all but the prior on θ.
        start: a first τ; the answer is within a factor of 1,000 of it.
        n_samples: behind each expectation.
        at_once: samples that are solved for side by side, which bounds the memory.
        seed: seed of the samples.

    Returns:
        τ.

    Source:
        D. MacKay, Bayesian interpolation, Neural Computation 4, 1992.
    """
    precision = start
    for _ in range(_ROUNDS):
        prior, both = without_and_with(precision)
        scaled = both.prior_precision
        determined = 0.0
        for first in range(0, n_samples, at_once):
            some = range(first, min(first + at_once, n_samples))
            for one, sign in ((prior, 1), (both, -1)):
                norms = (one.sample(some, seed=seed).values.square() * scaled).sum()
                determined += sign * float(norms) / n_samples
        best = both.minimiser(output_gradient).values
        square = max(float((best.square() * scaled).sum()), torch.finfo(best.dtype).tiny)
        new = precision * max(determined, 0.0) / square
        new = min(max(new, start / _FARTHEST), start * _FARTHEST)
        settled = abs(new / precision - 1) < _SETTLED
        precision = math.sqrt(precision * new)  # undamped it may go to and fro
        if settled:
            break
    return precision
