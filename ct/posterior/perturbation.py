"""Measurements with noise drawn once more: what members that shall be posterior samples see."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.seeds import seeded_generator
from ct.problem import Problem


def perturbed_sinograms(
    problem: Problem, *, seeds: Sequence[int]
) -> Float[Tensor, "members views detectors"]:
    """Return y + σ·ε_m with ε_m ~ N(0, I), of each member.

    Rays that were not measured stay as they are.

    Args:
        problem: y and σ.
        seeds: one for each member; its noise depends on it alone.

    Returns:
        The sinograms, of the problem's dtype and on its device.
    """
    sinogram = problem.sinogram
    noise_std = problem.noise_std.where(problem.noise_std.isfinite(), 0)
    draws = [
        torch.randn(sinogram.shape, dtype=torch.float64, generator=seeded_generator(seed))
        for seed in seeds
    ]
    return sinogram + noise_std * torch.stack(draws).to(sinogram)
