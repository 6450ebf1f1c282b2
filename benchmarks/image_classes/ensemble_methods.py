"""Ensembles of the package, by either likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from benchmarks.image_classes.functions import Candidate, Functions, Training
from ensembles import (
    EnsembleClassifier,
    adam,
    cross_entropy,
    deep_ensemble,
    one_hot_regression,
)
from ensembles.likelihoods.one_hot_regression import OneHotRegression
from ensembles.likelihoods.protocol import ClassLikelihood
from ensembles.methods.protocol import Method
from ensembles.trainers.adam import STEP

Prior = tuple[ClassLikelihood, float]
"""Likelihood (σ in units of the indicators) and scale of the prior."""

AS_USED = (0.1, 0.3, 1.0, 3.0)  # largest learning rates, in units of the package's default
HE = 2**0.5  # scale of the weights of ReLU networks (He et al., 2015)
# without regulariser nor noise, so that σ does nothing
PLAIN: tuple[Prior, ...] = (
    (one_hot_regression(noise_std=0.03), 1.0),
    (one_hot_regression(noise_std=0.03), 1.5),
    (cross_entropy(), 1.5),
    (one_hot_regression(noise_std=0.03), 0.7),
)
# What is added to members is up to four times as large as they are: smaller priors. Scales of 0.5
# and 0.35 and σ = 0.01 were tried on four splits of MNIST, for all alike: nothing moved by 0.001.
REGULARISED: tuple[Prior, ...] = (
    (one_hot_regression(noise_std=0.03), 1.0),
    (one_hot_regression(noise_std=0.1), 1.0),
    (cross_entropy(), 1.5),
    (one_hot_regression(noise_std=0.03), 0.7),
)


def ensemble(
    method: Callable[[], Method], priors: Sequence[Prior] = REGULARISED
) -> tuple[Candidate, ...]:
    """Return the candidates of an ensemble's method: likelihoods and scales of the prior."""
    return tuple(
        Candidate(
            said=f"{_said(likelihood)}, weight_std {weight_std:g}",
            fit=partial(
                fit_ensemble, method=method(), likelihood=likelihood, weight_std=weight_std
            ),
        )
        for likelihood, weight_std in priors
    )


def as_used() -> tuple[Candidate, ...]:
    """Return those of deep ensembles as they are used: cross-entropy, the learning rate chosen."""
    return tuple(
        Candidate(
            said=f"{_said(cross_entropy())}, learning rate {rate:g}",
            fit=partial(
                fit_ensemble, method=deep_ensemble(), likelihood=cross_entropy(), weight_std=HE,
                rate=rate,
            ),
        )
        for rate in AS_USED
    )  # fmt: skip


def alone(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Return the same candidates with one member."""
    return tuple(Candidate(said=one.said, fit=partial(_alone, fit=one.fit)) for one in candidates)


def fit_ensemble(
    training: Training,
    *,
    method: Method,
    likelihood: ClassLikelihood,
    weight_std: float,
    rate: float = 1.0,
) -> Functions:
    """Train the members; the temperature is left to the caller, who has held-out images."""
    budget, network = training.budget, training.network(weight_std)
    largest = rate * STEP / math.sqrt(sum(p.numel() for p in network.parameters()))
    model = EnsembleClassifier(
        network, method=method, likelihood=likelihood,
        n_members=training.n_members, temperature=1.0,
        trainer=adam(steps=budget.steps, batch_size=budget.batch_size, learning_rate=largest),
        random_state=training.seed, device=training.x.device,
    ).fit(training.x, training.y)  # fmt: skip
    if len(model.members_) < training.n_members:
        raise RuntimeError(f"{training.n_members - len(model.members_)} members diverged")
    values = model._function()  # f̃ itself: the estimator gives probabilities

    def functions(x: Tensor) -> Tensor:
        with torch.no_grad():
            return values(x)

    return functions


def _alone(training: Training, *, fit: Callable[[Training], Functions]) -> Functions:
    return fit(replace(training, n_members=1))


def _said(likelihood: ClassLikelihood) -> str:
    if isinstance(likelihood, OneHotRegression):
        return f"one-hot regression, σ {likelihood.noise_std:g}"
    return "cross-entropy"
