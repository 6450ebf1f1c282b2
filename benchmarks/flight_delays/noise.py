"""What all neural methods share: noise that depends on the flight, and what they choose from."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.flight_delays.mixture import Mixture
from benchmarks.flight_delays.prior import Prior
from ensembles.likelihoods.heteroscedastic import Heteroscedastic, heteroscedastic
from ensembles.losses import GaussianError

STEP = 8.0  # largest learning rate times √parameters, the package's default
PRIORS = ("one scale", "each input")  # of `Problem.priors`
# networks that may stop early must be able to: without a prior it is what regularises them
SHARES = (0.25, 1.0)
CANDIDATES = tuple({"prior": prior, "epochs": share} for prior in PRIORS for share in SHARES)


def likelihood(prior: Prior) -> Heteroscedastic:
    """Return y ~ N(f(x), σ²(x)) whose log σ² is of order 1 before training.

    Both outputs share a read-out scale, which the marginal likelihood chose for the mean: of 19 it
    would send the log variance to its bounds, from where no gradient brings it back.
    """
    return heteroscedastic(scale=1 / prior.readout_std)


def noise_loss(prior: Prior) -> GaussianError:
    """Return its negative log likelihood, σ²(x) about the prior's noise."""
    return likelihood(prior).loss(torch.tensor([prior.noise_std]))


def as_mixture(values: Float[Tensor, "k n 2"], loss: GaussianError) -> Mixture:
    """Return the mixture whose components are networks with outputs for mean and variance."""
    values = values.double().cpu()
    return Mixture(means=values[..., 0], stds=(loss.log_variance(values)[..., 0] / 2).exp())
