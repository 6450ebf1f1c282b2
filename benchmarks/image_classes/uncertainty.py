"""Uncertainties of a point, from the values of members or draws."""

from __future__ import annotations

from torch import Tensor, nn

from bayesnn.calibration import epistemic_variance, mutual_information, predictive_entropy
from ensembles import one_hot_regression

ENTROPY, INFORMATION = "entropy", "mutual information"
VARIANCE, VALUES = "variance of probabilities", "variance of values"
SQUARES = "expected square"
UNCERTAINTIES = (ENTROPY, INFORMATION, VARIANCE, VALUES, SQUARES)


def member_probabilities(values: Tensor, temperature: float) -> Tensor:
    """Return softmax(f̃/T) of each member, [m, n, classes], whose rows sum to 1."""
    p = (values / temperature).softmax(-1)
    return p / p.sum(-1, keepdim=True)


def class_probabilities(values: Tensor, temperature: float) -> Tensor:
    """Return their mean over members, [n, classes]."""
    p = member_probabilities(values, temperature).mean(0)
    return p / p.sum(-1, keepdim=True)


def uncertainties(values: Tensor, temperature: float) -> dict[str, Tensor]:
    """Return every uncertainty of each point, [n] each; of one member those that need no others.

    Args:
        values: f̃, [members, n, classes].
        temperature: T.
    """
    members = member_probabilities(values, temperature)
    found = {ENTROPY: predictive_entropy(members), SQUARES: expected_square(values)}
    if len(values) > 1:
        found[INFORMATION] = mutual_information(members)
        found[VARIANCE] = epistemic_variance(members).sum(-1)
        found[VALUES] = epistemic_variance(values).sum(-1)
    return found


def expected_square(values: Tensor) -> Tensor:
    """Return the square that regression on indicators expects to lose by its answer, [n].

    E‖f̃ − t‖² over members, with t the target of the class whose mean value is the largest: the
    members' variance, and how far their mean is from the values of any class that was seen.

    Args:
        values: f̃, [members, n, classes].
    """
    mean = values.mean(0)
    answer = nn.functional.one_hot(mean.argmax(-1), mean.shape[-1]).to(mean)
    square = (mean - one_hot_regression().targets(answer)).square().sum(-1)
    return square if len(values) == 1 else square + epistemic_variance(values).sum(-1)
