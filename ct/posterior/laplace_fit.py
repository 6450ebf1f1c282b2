"""From a trained network to its Laplace posterior: the last Newton steps, the prior's precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.inference.laplace import (
    Curvature,
    LaplacePosterior,
    curvature_diagonal,
    laplace_posterior,
    likeliest_prior_precision,
)
from bayesnn.inference.linearised import Linearised
from bayesnn.inference.mc_dropout import Params
from bayesnn.seeds import seeded_generator
from ct.checkpoint import Checkpoint
from ct.posterior.chunked import at_once, peak_bytes, tensor_budget
from ct.posterior.image_curvature import RayCurvature, VariationCurvature
from ct.posterior.image_model import ImageModel

_NEWTON_STEPS = 5
_HALVINGS = 6  # of a Newton step that does not lower the objective
_CONVERGED = 1e-6  # relative fall of the objective in a step, below which it is the last
_POLISH_TOLERANCE = 1e-6  # of their solves: that of the mean
_EVIDENCE_TOLERANCE = 0.05  # of solves: the precision is found to a few per cent
_PROBES, _EVIDENCE = 0, 1  # places of the random streams
_SOLVER_VECTORS = 12  # parameter vectors that a solve holds for each sample
_BASIS_SHARE = 4  # of the memory budget, the preconditioner's vectors take one part in so many


@dataclass(frozen=True, kw_only=True)
class LaplaceModel:
    """The objective Σ_rays ½ ((A f_θ − y)/σ)² + w · TV(f_θ) + ½ τ Σ_i fan-in_i θ_i², near a θ.

    Attributes:
        image: f as a function of θ, and what was measured.
        tv_weight: w; 0 where total variation is no part of the prior.
        rank: of the preconditioner, where memory allows.
        max_iterations: of each solve.
        seed: seed of probes and of samples behind the likeliest τ.
    """

    image: ImageModel
    tv_weight: Float[Tensor, ""]
    rank: int
    max_iterations: int
    seed: int

    @property
    def smooth(self) -> bool:
        """Whether total variation is left out."""
        return not bool(self.tv_weight > 0)

    def linearised(self, params: Params) -> Linearised:
        """Return f near θ."""
        return Linearised(self.image.render, params)

    def likelihood(self) -> list[Curvature]:
        """Return the curvature of the misfit."""
        problem = self.image.problem
        return [RayCurvature(projector=problem.projector, noise_std=problem.noise_std)]

    def variation(self, linear: Linearised) -> list[Curvature]:
        """Return the curvature of total variation, if there is any."""
        return [] if self.smooth else [VariationCurvature.near(linear.output, self.tv_weight)]

    def posterior(
        self, linear: Linearised, curvatures: Sequence[Curvature], tolerance: float
    ) -> Callable[[float], LaplacePosterior]:
        """Return what makes, of a prior's τ, the Gaussian near θ that some curvatures make."""
        samples = self.samples_at_once(linear)
        vectors = self._budget(linear) // _BASIS_SHARE // linear.at.nbytes
        seed, fan_in = seeded_generator(self.seed, _PROBES).initial_seed(), self.fan_in(linear)
        diagonal = curvature_diagonal(linear, curvatures, seed=seed)
        return lambda precision: laplace_posterior(
            linear,
            curvatures,
            precision * fan_in,
            data_diagonal=diagonal,
            seed=seed,
            rank=min(self.rank, vectors),
            at_once=samples,
            tolerance=tolerance,
            max_iterations=self.max_iterations,
        )

    def samples_at_once(self, linear: Linearised) -> int:
        """Return how many samples' solves the memory budget takes side by side, at least one."""
        one = linear.at[None]
        bytes_each = peak_bytes(lambda: linear.adjoint(linear(one))) + _SOLVER_VECTORS * one.nbytes
        given = self.image.problem.memory_budget
        return at_once(bytes_each, linear.at.device, given, what="sample")

    def _budget(self, linear: Linearised) -> int:
        return tensor_budget(linear.at.device, self.image.problem.memory_budget)

    def fan_in(self, linear: Linearised) -> Float[Tensor, " n"]:
        """Return the fan-in of each entry of θ."""
        variances = self.image.prior_variance(1.0)
        return linear.layout.join({
            name: torch.full_like(part, 1 / variances[name])
            for name, part in linear.layout.split(linear.at).items()
        })

    def likeliest_precision(self, linear: Linearised) -> float:
        """Return τ by marginal likelihood, beginning with the mean square of θ."""
        gradient = self.ray_gradient(linear.output)
        priors = self.variation(linear)
        for variation in priors:
            gradient = gradient + variation(linear.output[None])[0]
        prior = self.posterior(linear, priors, _EVIDENCE_TOLERANCE)
        both = self.posterior(linear, [*priors, *self.likelihood()], _EVIDENCE_TOLERANCE)
        squares = float((self.fan_in(linear) * linear.at.square()).sum())
        return likeliest_prior_precision(
            lambda precision: (prior(precision), both(precision)),
            gradient,
            start=linear.at.numel() / max(squares, torch.finfo(linear.at.dtype).tiny),
            at_once=self.samples_at_once(linear),
            seed=seeded_generator(self.seed, _EVIDENCE).initial_seed(),
        )

    def newton_step(self, linear: Linearised, precision: float) -> Params | None:
        """Return a θ with less misfit and prior, by one Gauss–Newton step; None for none."""
        posterior = self.posterior(linear, self.likelihood(), _POLISH_TOLERANCE)(precision)
        goal = posterior.minimiser(self.ray_gradient(linear.output)).values[0]

        def objective(at: Float[Tensor, " n"]) -> float:
            square = (posterior.prior_precision * at.square()).sum()
            image = self.image.render(linear.layout.split(at))
            return float(self.image.misfit(image) + square / 2)

        before = objective(linear.at)
        for halvings in range(_HALVINGS):
            at = linear.at + (goal - linear.at) / 2**halvings
            if before - objective(at) > _CONVERGED * before:
                return linear.layout.split(at)
        return None

    def ray_gradient(self, image: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
        """Return the gradient of the misfit in the image."""
        problem = self.image.problem
        residual = problem.projector(image) - problem.sinogram
        return problem.projector.T(residual / problem.noise_std.square())


@dataclass(frozen=True, kw_only=True)
class LaplaceFit:
    """A posterior over the network's parameters.

    Attributes:
        posterior: around θ̂.
        prior_precision: τ.
        source: where τ comes from, in words.
        samples_at_once: how many samples the memory budget takes side by side.
    """

    posterior: LaplacePosterior
    prior_precision: float
    source: str
    samples_at_once: int


def fit_laplace(
    model: LaplaceModel,
    params: Params,
    *,
    prior_precision: float | None,
    tolerance: float,
    checkpoint: Checkpoint,
) -> LaplaceFit:
    """Linearise a network where training ended.

    Without total variation the objective is smooth, and Gauss–Newton steps finish what training
    began; with it the network stays where it is.

    Args:
        model: the objective.
        params: the trained θ.
        prior_precision: τ; None for the likeliest.
        tolerance: of the samples' solves.
        checkpoint: where θ̂ and τ are left.

    Returns:
        The posterior.
    """
    saved = checkpoint.load()
    if saved is not None:
        params = {name: saved[f"params/{name}"].to(value) for name, value in params.items()}
        precision = float(saved["precision"])
    else:
        precision = prior_precision or model.likeliest_precision(model.linearised(params))
        for _ in range(_NEWTON_STEPS if model.smooth else 0):
            better = model.newton_step(model.linearised(params), precision)
            if better is None:
                break
            params = better
        if checkpoint.due():
            state = {f"params/{name}": value for name, value in params.items()}
            checkpoint.save({**state, "precision": torch.tensor(precision, dtype=torch.float64)})
    linear = model.linearised(params)
    curvatures = [*model.variation(linear), *model.likelihood()]
    return LaplaceFit(
        posterior=model.posterior(linear, curvatures, tolerance)(precision),
        prior_precision=precision,
        source="marginal likelihood" if prior_precision is None else "given",
        samples_at_once=model.samples_at_once(linear),
    )
