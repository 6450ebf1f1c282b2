"""Uncertainties of a point, from the values of members or draws."""

from __future__ import annotations

from torch import Tensor

from bayesnn.calibration import epistemic_variance, mutual_information, predictive_entropy

ENTROPY, INFORMATION = "entropy", "mutual information"
VARIANCE, VALUES = "variance of probabilities", "variance of values"


def member_probabilities(values: Tensor, temperature: float) -> Tensor:
    """Return softmax(f̃/T) of each member, [m, n, classes], whose rows sum to 1."""
    p = (values / temperature).softmax(-1)
    return p / p.sum(-1, keepdim=True)


def class_probabilities(values: Tensor, temperature: float) -> Tensor:
    """Return their mean over members, [n, classes]."""
    p = member_probabilities(values, temperature).mean(0)
    return p / p.sum(-1, keepdim=True)


def uncertainties(values: Tensor, temperature: float) -> dict[str, Tensor]:
    """Return every uncertainty of each point, [n] each; of one member its entropy alone.

    Args:
        values: f̃, [members, n, classes].
        temperature: T.
    """
    members = member_probabilities(values, temperature)
    found = {ENTROPY: predictive_entropy(members)}
    if len(values) > 1:
        found[INFORMATION] = mutual_information(members)
        found[VARIANCE] = epistemic_variance(members).sum(-1)
        found[VALUES] = epistemic_variance(values).sum(-1)
    return found
