"""What all neural methods share: noise that depends on the flight, and what they choose from."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.flight_delays.mixture import Mixture
from ensembles.likelihoods.heteroscedastic import heteroscedastic
from ensembles.losses import GaussianError

STEP = 8.0  # largest learning rate times √parameters, the package's default
PRIORS = ("one scale", "each input")  # of `Problem.priors`
# networks that may stop early must be able to: without a prior it is what regularises them
SHARES = (0.25, 1.0)
CANDIDATES = tuple({"prior": prior, "epochs": share} for prior in PRIORS for share in SHARES)


def noise_loss(noise_std: float) -> GaussianError:
    """Return the negative log likelihood of N(f(x), σ²(x)), σ²(x) about `noise_std`²."""
    return heteroscedastic().loss(torch.tensor([noise_std]))


def as_mixture(values: Float[Tensor, "k n 2"], loss: GaussianError) -> Mixture:
    """Return the mixture whose components are networks with outputs for mean and variance."""
    values = values.double().cpu()
    return Mixture(means=values[..., 0], stds=(loss.log_variance(values)[..., 0] / 2).exp())
