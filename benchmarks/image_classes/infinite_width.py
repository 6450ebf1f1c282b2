"""The exact posterior of infinitely wide NTKGP members: regression on class indicators."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bayesnn.gp import fit_gp
from bayesnn.kernels import ntk
from bayesnn.seeds import seeded_generator
from benchmarks.image_classes.functions import CLASSES, Candidate, Functions, Training
from ensembles import one_hot_regression

RATIOS = (1e-4, 1e-3, 1e-2, 1e-1)  # of σ² to the kernel's mean diagonal


def infinite_candidates() -> tuple[Candidate, ...]:
    """Return the one candidate: the marginal likelihood chooses within."""
    return (Candidate(said="scale and noise by marginal likelihood", fit=fit_infinite),)


def fit_infinite(training: Training) -> Functions:
    """Condition the Gaussian process of the network's NTK on some of the training images.

    The kernel's scale s² and noise are those of the greatest marginal likelihood: the noise among
    `RATIOS`, and s² = Σ yᵀ(K + ratio)⁻¹y / (images · classes) in closed form for each.
    """
    rows = slice(0, training.budget.kernel_rows)
    x = training.x[rows].double()  # the least noise is lost in float32
    one_hot = nn.functional.one_hot(training.y[rows], CLASSES).double()
    y = one_hot_regression().targets(one_hot)
    network = training.network(1.0)
    kernel = ntk(network)
    scale, ratio = likeliest(kernel(x), y)
    last = f"{len(network) - 1}."
    kernel = kernel.with_hyperparameters({
        name: float(value) * (math.sqrt(scale) if name.startswith(last) else 1.0)
        for name, value in kernel.hyperparameters.items()
    })
    level = float(kernel.diagonal(x).mean())
    process = fit_gp(kernel, x, y, noise_std=math.sqrt(ratio * level))
    draws = training.budget.draws

    def functions(points: Tensor) -> Tensor:
        found = process.marginals(points.double())
        generator = seeded_generator(training.seed, 9)
        noise = torch.randn((draws, len(points), CLASSES), generator=generator).to(found.mean)
        return found.mean + found.epistemic_variance.clamp(min=0).sqrt() * noise

    return functions


def likeliest(kernel: Tensor, y: Tensor) -> tuple[float, float]:
    """Return s² and the ratio of greatest marginal likelihood N(y | 0, s²(K + ratio·k̄·I)).

    Args:
        kernel: K, [n, n], of mean diagonal k̄.
        y: targets, [n, outputs].
    """
    n, outputs = y.shape
    level = kernel.diagonal().mean()
    best = (-math.inf, 1.0, RATIOS[-1])
    for ratio in RATIOS:
        factor = torch.linalg.cholesky(kernel + ratio * level * torch.eye(n).to(kernel))
        scale = float((y * torch.cholesky_solve(y, factor)).sum()) / (n * outputs)
        volume = 2 * float(factor.diagonal().log().sum())
        found = -0.5 * outputs * (n * math.log(scale) + volume)
        best = max(best, (found, scale, ratio))
    return best[1:]
