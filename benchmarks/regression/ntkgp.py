"""The exact NTK Gaussian process: what wide NTKGP ensembles are samples of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from bayesnn import Predictive
from bayesnn.gp.exact import fit_gp
from benchmarks.regression.method import Fitted, Settings
from benchmarks.regression.prior import Prior, all_inputs, choose_prior, each_input

PRIORS: Sequence[Settings] = tuple(
    {"groups": groups, "noise_factor": factor}
    for groups in (each_input, all_inputs)
    for factor in (1.0, 1.2, 1.5)
)
"""One scale an input or one for all, and a factor on the noise that the likelihood chose."""


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
        noise = prior.noise_std * settings["noise_factor"]
        process = fit_gp(prior.kernel(), prior.inputs(X), y, noise_std=noise)
        variance = prior.kernel().diagonal(prior.inputs(X)) + noise**2

        def predict(rows: Float[Tensor, "m d"], /) -> Predictive:
            return process.marginals(prior.inputs(rows))

        facts = {
            "first evidence": prior.first_evidence,
            "evidence": prior.evidence,
            "prior converged": float(prior.converged),
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
