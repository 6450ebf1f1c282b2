"""The exact NTK Gaussian process: what wide NTKGP ensembles are samples of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn import Predictive
from bayesnn.gp.exact import GaussianProcess, fit_gp
from benchmarks.regression.leave_one_out import held_out_noise
from benchmarks.regression.method import Fitted, Settings
from benchmarks.regression.prior import Prior, all_inputs, choose_prior, each_input

FACTORS = (0.35, 0.5, 0.7)
"""How closely the function follows its training rows: parts of the likelihood's noise."""
PRIORS: Sequence[Settings] = tuple(
    {"groups": groups, "noise_factor": factor}
    for groups in (each_input, all_inputs)
    for factor in FACTORS
)
"""One scale an input or one for all, and the part of the noise by which the function is fitted."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The noise of rows that are fitted, and that of rows to come.

    Attributes:
        training: σ by which the function is fitted to its training rows.
        predictive: σ about the function at any other row, by leaving training rows out in turn.
    """

    training: float
    predictive: float

    def of(self, post: Predictive) -> Predictive:
        """Return a prediction whose noise is that of rows to come."""
        return Predictive(
            mean=post.mean,
            epistemic_variance=post.epistemic_variance,
            noise_variance=torch.full_like(post.mean, self.predictive**2),
            n_members=post.n_members,
            members=post.members,
        )


@dataclass(frozen=True, kw_only=True)
class ExactNTKGP:
    """The posterior of the chosen prior's NTK process, by one Cholesky factor."""

    name: ClassVar[str] = "exact NTKGP"
    candidates: Sequence[Settings] = PRIORS

    def fit(
        self, X: Float[Tensor, "n d"], y: Float[Tensor, " n"], *, settings: Settings, seed: int
    ) -> Fitted:
        """Fit the prior, then condition it on all rows."""
        prior = prior_of(settings, X, y, seed=seed)
        process = _process(prior, settings, X, y)
        noise = _noise(process)
        variance = prior.kernel().diagonal(prior.inputs(X)) + prior.noise_std**2

        def predict(rows: Float[Tensor, "m d"], /) -> Predictive:
            return noise.of(process.marginals(prior.inputs(rows)))

        facts = {
            "first evidence": prior.first_evidence,
            "evidence": prior.evidence,
            "prior converged": float(prior.converged),
            "noise by likelihood": prior.noise_std,
            "training noise": noise.training,
            "predictive noise": noise.predictive,
            # of a calibrated prior 95 %; 100 % says that it is far wider than the targets
            "targets in prior's 95 %": float(
                (y.abs() < 1.959964 * variance.sqrt()).double().mean()
            ),
        }
        return Fitted(predict=predict, facts=facts)


def prior_of(
    settings: Settings, X: Float[Tensor, "n d"], y: Float[Tensor, " n"], *, seed: int
) -> Prior:
    """Return the prior that settings of `PRIORS` ask for, its noise as the likelihood chose."""
    return choose_prior(X, y, groups=settings["groups"], seed=seed)


def noise_of(
    prior: Prior, settings: Settings, X: Float[Tensor, "n d"], y: Float[Tensor, " n"]
) -> Noise:
    """Return the noise that all methods with this prior have, by the exact process."""
    return _noise(_process(prior, settings, X, y))


def _process(
    prior: Prior, settings: Settings, X: Float[Tensor, "n d"], y: Float[Tensor, " n"]
) -> GaussianProcess:
    training = prior.noise_std * settings["noise_factor"]
    return fit_gp(prior.kernel(), prior.inputs(X), y, noise_std=training)


def _noise(process: GaussianProcess) -> Noise:
    return Noise(training=float(process.noise_std), predictive=held_out_noise(process))
