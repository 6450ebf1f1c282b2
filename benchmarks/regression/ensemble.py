"""Our ensembles with the prior that the infinite-width marginal likelihood chose."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn import Predictive
from benchmarks.regression.method import Fitted, Settings
from benchmarks.regression.ntkgp import PRIORS, noise_of, prior_of
from ensembles import EnsembleRegressor, adam, gauss_newton, ntkgp_lin
from ensembles.methods.protocol import Method as EnsembleMethod
from ensembles.trainers.problem import Trainer

SECOND_ORDER_ROWS = 700  # up to which Gauss–Newton is the faster way to a minimum


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Members with a prior of `PRIORS`; which one is chosen once for all, by the exact process.

    Attributes:
        name: what tables call it.
        method: what is fixed, regularised and perturbed.
        n_members: number of members.
        width: units of the hidden layer.
        steps: most steps of Gauss–Newton.
        adam_steps: steps of Adam, for more than 700 rows.
        candidates: settings, as of the exact process.
    """

    name: str
    method: EnsembleMethod
    n_members: int = 10
    width: int = 128
    steps: int = 30
    adam_steps: int = 600
    candidates: Sequence[Settings] = PRIORS

    def with_prior(self, settings: Settings) -> Ensemble:
        """Return the method with its prior chosen."""
        return replace(self, candidates=(settings,))

    def smaller(self) -> Ensemble:
        """Return the method as small as a smoke run needs."""
        return replace(self, n_members=3, width=32, steps=5, adam_steps=20)

    def fit(
        self, X: Float[Tensor, "n d"], y: Float[Tensor, " n"], *, settings: Settings, seed: int
    ) -> Fitted:
        """Draw and train the members."""
        prior = prior_of(settings, X, y, seed=seed)
        noise = noise_of(prior, settings, X, y)
        trainer, dtype = self._trainer(len(X))
        model = EnsembleRegressor(
            prior.network(width=self.width, seed=seed),
            method=self.method,
            n_members=self.n_members,
            noise_std=noise.training,
            standardize=False,
            trainer=trainer,
            random_state=seed,
        )
        inputs = prior.inputs(X).to(dtype)
        with warnings.catch_warnings(record=True):  # members that diverged are counted below
            warnings.simplefilter("always", RuntimeWarning)
            model.fit(inputs, y.to(dtype))

        def predict(rows: Float[Tensor, "m d"], /) -> Predictive:
            return noise.of(model.posterior(prior.inputs(rows).to(dtype), keep_members=True))

        return Fitted(
            predict=predict,
            facts={"converged": sum(model.converged_) / self.n_members, **_moved(model)},
        )

    def _trainer(self, n_rows: int) -> tuple[Trainer, torch.dtype]:
        # a model that is linear in θ needs one step of second order, which solves with K + σ²I:
        # where σ is a hundredth of the targets float32 does not hold it
        if n_rows <= SECOND_ORDER_ROWS or self.method == ntkgp_lin():
            return gauss_newton(max_steps=self.steps), torch.float64
        return adam(steps=self.adam_steps, batch_size=256), torch.float32


def _moved(model: EnsembleRegressor) -> dict[str, float]:
    """Return ‖θ − θ₀‖/‖θ₀‖ over all members, small in the lazy regime, where θ₀ is known."""
    initial = model.shift_params_.get("initial")
    if initial is None:
        return {}
    change = sum(float((model.params_[name] - initial[name]).square().sum()) for name in initial)
    size = sum(float(value.square().sum()) for value in initial.values())
    return {"moved": (change / size) ** 0.5}
