"""Gaussian processes: the exact NTK process of a subset, and a sparse one with lengths a feature.

Their noise is the same for all flights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.gp import fit_gp
from benchmarks.flight_delays.method import Predict, Problem, Settings
from benchmarks.flight_delays.mixture import Mixture
from benchmarks.flight_delays.noise import PRIORS
from benchmarks.flight_delays.prior import random_rows
from benchmarks.flight_delays.sparse_process import fit_sparse_process

CHUNK = 4096  # flights predicted at a time
MOST_STEPS = 2000  # of the sparse process, each of which takes as long as several of networks


@dataclass(frozen=True, kw_only=True)
class ExactSubset:
    """The posterior that NTKGP members are samples of, given a few rows: all else is chosen."""

    name: ClassVar[str] = "exact NTKGP, subset"

    @property
    def spends(self) -> Sequence[str]:
        """Return the parts of the budget on which its numbers depend."""
        return ("subset", "depth", "prior_rows", "device")

    @property
    def candidates(self) -> Sequence[Settings]:
        """Return priors."""
        return tuple({"prior": prior} for prior in PRIORS)

    def fit(self, problem: Problem, settings: Settings) -> Predict:
        """Condition the process of the shared prior on random rows."""
        prior, budget = problem.priors[settings["prior"]], problem.budget
        rows = random_rows(len(problem.x), budget.subset, seed=problem.seed)
        x = prior.inputs(problem.x[rows]).to(budget.device)
        y = problem.y[rows].to(budget.device)
        process = fit_gp(prior.kernel(depth=budget.depth), x, y, noise_std=prior.noise_std)

        def predict(points: Float[Tensor, "n 8"]) -> Mixture:
            parts = prior.inputs(points).to(budget.device).split(CHUNK)
            posts = [process.posterior(part) for part in parts]
            means = torch.cat([post.mean.cpu() for post in posts])
            stds = torch.cat([post.variance.cpu().sqrt() for post in posts])
            epistemic = torch.cat([post.epistemic_variance.cpu() for post in posts])
            return Mixture(means=means[None], stds=stds[None], epistemic=epistemic)

        return predict


@dataclass(frozen=True, kw_only=True)
class Sparse:
    """A variational process with inducing points and a length for each feature (GPyTorch)."""

    name: ClassVar[str] = "sparse GP, ARD"

    @property
    def spends(self) -> Sequence[str]:
        """Return the parts of the budget on which its numbers depend."""
        return ("inducing", "steps", "batch_size", "device")

    @property
    def candidates(self) -> Sequence[Settings]:
        """Return kernels and learning rates."""
        return tuple({"nu": nu, "rate": rate} for nu in (1.5, 2.5) for rate in (0.01, 0.03))

    def fit(self, problem: Problem, settings: Settings) -> Predict:
        """Maximise the evidence lower bound on minibatches."""
        moments = fit_sparse_process(
            problem.x.float(), problem.y.float(), nu=settings["nu"], rate=settings["rate"],
            steps=min(problem.steps(), MOST_STEPS), batch_size=problem.batch_size,
            inducing=random_rows(len(problem.x), problem.budget.inducing, seed=problem.seed),
            device=problem.budget.device, seed=problem.seed,
        )  # fmt: skip

        def predict(points: Float[Tensor, "n 8"]) -> Mixture:
            mean, epistemic, noise = (part.double().cpu() for part in moments(points.float()))
            return Mixture(
                means=mean[None], stds=(epistemic + noise).sqrt()[None], epistemic=epistemic
            )

        return predict
