"""The centre of rotation from the path of the centre of mass, which is a sinusoid."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float64
from torch import Tensor

from ct.alignment.estimate import CenterEstimate
from ct.geometry import ParallelBeam

_LEAST_MASS = 0.5  # of what it would be without negative values


def center_from_mass(
    sinogram: Float64[Tensor, "slices views detectors"], scan: ParallelBeam
) -> CenterEstimate:
    """Fit a sinusoid to the centre of mass of each view; its mean is the centre of rotation.

    Σ_k k p_θ(k) / Σ_k p_θ(k) = c + (x cos θ + y sin θ)/spacing, with (x, y) the object's centre of
    mass: the first of the Helgason–Ludwig conditions. It needs whole views of the object, three of
    them at least, and over a short arc it is uncertain, which the error says.

    Args:
        sinogram: line integrals.
        scan: where the rays are; its own centre is not used.

    Returns:
        The centre, slices weighted by their precision; its error is the fit's.
    """
    n = scan.n_detectors
    theta = torch.tensor(scan.angles, dtype=torch.float64, device=sinogram.device)
    design = torch.stack([torch.ones_like(theta), theta.cos(), theta.sin()], dim=1)
    mass = sinogram.sum(-1)
    index = torch.arange(n, dtype=torch.float64, device=sinogram.device)
    # slices of air, or whose values cancel (Hounsfield units), have no centre of mass
    heavy = mass.mean(-1).abs() > _LEAST_MASS * sinogram.abs().sum(-1).mean(-1)
    path = (sinogram[heavy] @ index) / mass[heavy]
    inverse = torch.linalg.pinv(design)
    fitted = path @ inverse.T
    rest = path - fitted @ design.T
    freedom = max(scan.n_views - 3, 0)
    share = float(inverse[0].square().sum())
    variance = rest.square().sum(-1) / freedom * share if freedom else rest[..., 0] + math.inf
    if not len(fitted) or not bool(torch.isfinite(variance).all()):
        center, error = float(fitted[:, 0].mean()) if len(fitted) else (n - 1) / 2, math.inf
    else:
        weight = 1 / variance.clamp(min=1e-12)
        center = float((fitted[:, 0] * weight).sum() / weight.sum())
        error = math.sqrt(1 / float(weight.sum()))
    candidates = torch.arange(n, dtype=torch.float64)
    return CenterEstimate(
        center=center,
        error=error,
        method="path of the centre of mass",
        candidates=candidates,
        scores=((candidates - center) / error).square(),
    )
