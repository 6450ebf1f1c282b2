"""Noise that depends on the flight, alike in all neural methods: an output beside the mean."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.flight_delays.mixture import Mixture
from ensembles.likelihoods.heteroscedastic import heteroscedastic
from ensembles.losses import GaussianError

BETAS = (0.0, 0.5)  # weights of gradients, see `ensembles.heteroscedastic`
STEPS = (8.0, 2.5)  # learning rates times √parameters; 8 is the package's default
# of deep ensembles and the NTKGP family, of MC dropout's and mean field's learning rate too
CANDIDATES = tuple({"beta": beta, "step": step} for beta in BETAS for step in STEPS)


def noise_loss(noise_std: float, beta: float) -> GaussianError:
    """Return the negative log likelihood of N(f(x), σ²(x)), σ²(x) about `noise_std`²."""
    return heteroscedastic(beta=beta).loss(torch.tensor([noise_std]))


def as_mixture(values: Float[Tensor, "k n 2"], loss: GaussianError) -> Mixture:
    """Return the mixture whose components are networks with outputs for mean and variance."""
    values = values.double().cpu()
    return Mixture(means=values[..., 0], stds=(loss.log_variance(values)[..., 0] / 2).exp())
