"""Total variation's best weight by a grid search on the truth: for comparison alone."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from benchmarks.reconstruction.scans import Simulated
from ct.classical.primal_dual import minimise, start
from ct.classical.primal_dual_metric import fourier_metric
from ct.classical.tv_differences import isotropic
from ct.classical.tv_objective import total_variation, tv_problem

GRID_FACTORS = [0.04 * 1.45**k for k in range(10)]  # times pixels / TV of the median truth


def solve_grid(data: Simulated, *, tolerance: float) -> tuple[Tensor, list[float], Tensor]:
    """Return PSNR [weights, slices], the weights, and the greatest gap of each weight."""
    together = tv_problem(data.problems, lengths=isotropic)
    metric = fourier_metric(data.problems[0].projector, data.grid, data.scan, together.sinograms)
    flatness = data.truth[0].numel() / total_variation(data.truth, isotropic).median()
    weights = [float(factor * flatness) for factor in GRID_FACTORS]
    scores, gaps = [], []
    for weight in weights:
        problem = dataclasses.replace(together, weights=torch.full_like(together.weights, weight))
        found = minimise(
            problem, metric, start(problem, metric), tolerance=tolerance, max_iterations=400
        )
        scores.append(data.psnr(found.images).cpu())
        gaps.append(found.relative_gap.max().cpu())
    return torch.stack(scores), weights, torch.stack(gaps)


def highest(weights: Sequence[float], scores: Tensor) -> tuple[float, float]:
    """Return where a parabola through the best weight and its neighbours is highest, and there."""
    best = int(scores.argmax())
    if best in {0, len(weights) - 1}:  # the end of the grid
        return weights[best], float(scores[best])
    logs = np.log(weights[best - 1 : best + 2])
    a, b, c = np.polyfit(logs - logs[1], scores[best - 1 : best + 2].numpy(), 2)
    return math.exp(logs[1] - b / (2 * a)), float(c - b * b / (4 * a))
