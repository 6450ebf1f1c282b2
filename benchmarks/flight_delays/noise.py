"""What all neural methods share: noise that depends on the flight, and what they choose from."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.flight_delays.laws import Student
from benchmarks.flight_delays.mixture import Mixture
from benchmarks.flight_delays.prior import Prior
from ensembles import student_t
from ensembles.likelihoods.student_t import StudentT
from ensembles.losses import StudentError

STEP = 8.0  # largest learning rate times √parameters, the package's default
DEGREES = 3  # of freedom: of 3, 4 and infinitely many the best for all on validation days
PRIORS = ("likeliest", "smaller")  # of `Problem.priors`
# what nothing holds near its prior must be able to stop early
FREE = tuple({"prior": prior, "steps": share} for prior in PRIORS for share in (0.4, 1.0))
# regularisers, or KL divergences, of a tenth and less: "cold" posteriors (Wenzel et al., 2020);
# as they are they never did best on validation days
HELD = tuple({"prior": prior, "weight": weight} for prior in PRIORS for weight in (0.01, 0.1))


def likelihood(prior: Prior) -> StudentT:
    """Return y ~ f(x) + σ(x)·t whose log σ² is of order 1 before training.

    Both outputs share a read-out scale, which the marginal likelihood chose for the mean: of 19 it
    would send the log variance to its bounds, from where no gradient brings it back. Gradients are
    those of the likelihood itself, not weighted by the variance: that has the lower NLL.
    """
    return student_t(degrees_of_freedom=DEGREES, scale=1 / prior.readout_std, beta=0.0)


def noise_loss(prior: Prior) -> StudentError:
    """Return its negative log likelihood, σ²(x) about the prior's noise."""
    return likelihood(prior).loss(torch.tensor([prior.noise_std]))


def as_mixture(values: Float[Tensor, "k n 2"], loss: StudentError) -> Mixture:
    """Return the mixture whose components are networks with outputs for mean and variance."""
    values = values.double().cpu()
    return Mixture(
        means=values[..., 0],
        stds=(loss.log_variance(values)[..., 0] / 2).exp(),
        law=Student(round(loss.degrees_of_freedom)),
    )
