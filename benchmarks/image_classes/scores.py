"""Scores of a method's predictions: in distribution, out of it, and under corruption."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from bayesnn.calibration import (
    aurc,
    brier_score,
    debiased_calibration_error,
    ood_aupr_out,
    ood_auroc,
    ood_fpr_at_tpr,
    risk_coverage_curve,
    top_label_calibration_error,
)
from benchmarks.image_classes.uncertainty import ENTROPY, class_probabilities, uncertainties

CONFIDENCES = tuple(round(0.1 * i, 1) for i in range(10))
COVERAGES = tuple(round(0.05 * i, 2) for i in range(1, 21))
BINS = 20  # of the histograms of entropy


def inside_scores(values: Tensor, y: Tensor, temperature: float) -> dict[str, float]:
    """Return accuracy, NLL, Brier score, calibration errors and AURC."""
    p = class_probabilities(values, temperature)
    wrong = (p.argmax(1) != y).double()
    return {
        "accuracy": 1 - float(wrong.mean()),
        "nll": float(-p[torch.arange(len(p)), y].clamp(min=1e-12).log().mean()),
        "brier": float(brier_score(y, p).mean()),
        "ece": float(top_label_calibration_error(y, p)),
        "ece_debiased": float(debiased_calibration_error(y, p)),
        "aurc": float(aurc(wrong, 1 - p.max(1).values)),
    }


def outside_scores(inside: Tensor, outside: Tensor, temperature: float) -> dict[str, Any]:
    """Return AUROC, AUPR and FPR at 95 % by every uncertainty.

    Args:
        inside: members' values at test images.
        outside: members' values at other images.
        temperature: T.
    """
    usual, odd = uncertainties(inside, temperature), uncertainties(outside, temperature)
    return {
        name: {
            "auroc": float(ood_auroc(usual[name], odd[name])),
            "aupr": float(ood_aupr_out(usual[name], odd[name])),
            "fpr95": float(ood_fpr_at_tpr(usual[name], odd[name])),
        }
        for name in usual
    }


def accuracy_by_confidence(
    inside: Tensor, y: Tensor, outside: Tensor, temperature: float
) -> list[float | None]:
    """Return the share of right answers above each confidence; of others no answer is right.

    Test images and others count alike, whatever their numbers; None where no answer is left
    (Lakshminarayanan, Pritzel, Blundell, 2017, arXiv 1612.01474, figure 6).
    """
    p, q = (class_probabilities(values, temperature) for values in (inside, outside))
    sure, right = p.max(1).values, (p.argmax(1) == y).double()
    shares: list[float | None] = []
    for level in CONFIDENCES:
        kept = sure >= level
        good = float((right * kept).mean())
        answered = float(kept.double().mean()) + float((q.max(1).values >= level).double().mean())
        shares.append(good / answered if answered else None)
    return shares


def risks(values: Tensor, y: Tensor, temperature: float) -> list[float]:
    """Return the error rate of the most confident share of the images, at each of `COVERAGES`."""
    p = class_probabilities(values, temperature)
    curve = risk_coverage_curve((p.argmax(1) != y).double(), 1 - p.max(1).values)
    places = [max(0, round(share * len(p)) - 1) for share in COVERAGES]
    return [float(curve.risk[place]) for place in places]


def entropy_counts(values: Tensor, temperature: float) -> list[float]:
    """Return the share of the images in each of `BINS` equal bins of entropy, 0 to log(classes)."""
    entropy = uncertainties(values, temperature)[ENTROPY]
    counts = torch.histc(entropy.float(), BINS, min=0.0, max=math.log(values.shape[-1]))
    return (counts / len(entropy)).tolist()
