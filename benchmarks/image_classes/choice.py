"""Which setting, and which uncertainty: from validation images and outliers made of them alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bayesnn.calibration import ood_auroc
from benchmarks.image_classes.functions import CLASSES, Functions, in_parts
from benchmarks.image_classes.uncertainty import class_probabilities, uncertainties
from ensembles.temperature import fit_temperature


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What choices are made by; all of it comes from the training part of a set.

    Attributes:
        x: validation images in the network's units.
        y: their classes.
        outliers: images made of them, by name.
    """

    x: Tensor
    y: Tensor
    outliers: Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What validation says of one setting.

    Attributes:
        temperature: T of least NLL.
        losses: −log p of each validation image, [n].
        auroc: mean over the kinds of outliers, by uncertainty.
    """

    temperature: float
    losses: Tensor
    auroc: Mapping[str, float]

    @property
    def nll(self) -> float:
        """Mean of the losses."""
        return float(self.losses.mean())

    @property
    def uncertainty(self) -> str:
        """The uncertainty that tells the outliers best."""
        return max(self.auroc, key=lambda name: self.auroc[name])


def judge(functions: Functions, validation: Validation) -> Judged:
    """Fit the temperature, and score by the validation images."""
    values = in_parts(functions, validation.x)
    labels = validation.y.cpu()
    one_hot = torch.nn.functional.one_hot(labels, CLASSES).double()
    temperature = fit_temperature(values, one_hot)
    p = class_probabilities(values, temperature)
    inside = uncertainties(values, temperature)
    found: dict[str, list[float]] = {name: [] for name in inside}
    for images in validation.outliers.values():
        outside = uncertainties(in_parts(functions, images), temperature)
        for name, scores in outside.items():
            found[name].append(float(ood_auroc(inside[name], scores)))
    return Judged(
        temperature=temperature,
        losses=-p[torch.arange(len(p)), labels].clamp(min=1e-12).log(),
        auroc={name: sum(some) / len(some) for name, some in found.items()},
    )


def best_setting(judged: Sequence[Judged]) -> int:
    """Return which setting to take.

    Among those whose NLL is within one standard error (of the paired difference) of the least, the
    one that tells the outliers best: accuracy comes first, and ties are what uncertainty decides.
    """
    least = min(judged, key=lambda one: one.nll)

    def as_good(one: Judged) -> bool:
        difference = one.losses - least.losses
        error = float(difference.std()) / math.sqrt(len(difference))
        return float(difference.mean()) <= error

    good = [place for place, one in enumerate(judged) if as_good(one)]
    return max(good, key=lambda place: max(judged[place].auroc.values()))
