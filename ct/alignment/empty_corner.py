"""The centre of rotation from half a turn: an object has no fast angular structure."""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex128, Float64
from torch import Tensor

from ct.alignment.estimate import CenterEstimate, jackknife
from ct.alignment.turns import step_between_views, view_weights
from ct.geometry import ParallelBeam

_MARGIN = 3  # angular frequencies by which an object's edges spill over the wedge's border
_GROUPS = 8
_BAND = 2  # frequencies along the detector, of a transform twice as long as it, that noise shares
_COARSE, _STEPS = 0.25, (0.1, 0.01, 0.001)


def center_from_empty_corner(
    sinogram: Float64[Tensor, "slices views detectors"],
    scan: ParallelBeam,
    *,
    radius: float,
    ring_ratio: float,
    search: tuple[float, float] | None = None,
) -> CenterEstimate:
    """Find the centre that makes half a turn and its mirror image one smooth full turn.

    With G_j(ω) the Fourier transform of view j along the detector and A(m, ω) = Σ_j w_j G_j(ω)
    exp(−imθ_j), the full turn made of the views and their mirror images about c has the transform
    F(m, ω) = A(m, ω) + (−1)^m exp(−2iωc) conj A(−m, ω). An object within radius R has next to
    nothing at |m| > R|ω|. The sum of |F|² over that corner is, but for a constant, 2 Re Σ_ω K(ω)
    exp(2iωc), K(ω) = Σ_m (−1)^m A(m, ω) A(−m, ω): one sum for every c, with no interpolation.
    As ω → 0 these are the Helgason–Ludwig conditions. Stripes (a constant on one detector) reach
    odd m alone; each term has the weight that white noise plus stripes of the given size leave it.

    Args:
        sinogram: line integrals.
        scan: where the rays are; its own centre is not used.
        radius: radius of the object around the axis, in bins; too large a one costs precision.
        ring_ratio: variance of stripes over the variance of a ray's noise.
        search: the first and the last centre to try; None for the whole detector.

    Returns:
        The centre. Its error is the larger of two, from parts of different angular frequency and
        from parts of different frequency along the detector: noise is independent in both, what
        stripes leave only in the second.

    Source:
        P. R. Edholm, R. M. Lewitt, B. Lindholm, Proc. SPIE 671, 1986; N. T. Vo et al., Reliable
        method for calculating the center of rotation in parallel-beam tomography, Optics Express
        22, 2014 (there the corner's energy is computed anew for each whole c).
    """
    terms, omega = corner_terms(sinogram, scan, radius, ring_ratio)
    first, last = search or (0.0, scan.n_detectors - 1.0)
    candidates = torch.arange(first, last + _COARSE, _COARSE, dtype=torch.float64)

    def score(
        centers: Float64[Tensor, " centers"], kernel: Complex128[Tensor, " frequencies"]
    ) -> Float64[Tensor, " centers"]:
        return (torch.exp(2j * omega * centers[:, None]) @ kernel).real

    scores = score(candidates, terms.sum(0))
    start = float(candidates[scores.argmin()])

    def minimiser(kernel: Float64[Tensor, " frequencies_twice"]) -> float:
        found = start
        for step in _STEPS:
            near = found + step * torch.arange(-10, 11, dtype=torch.float64)
            found = float(near[score(near, torch.complex(*kernel.chunk(2))).argmin()])
        return found

    in_bands = torch.arange(len(omega)) // _BAND % _GROUPS == torch.arange(_GROUPS)[:, None]
    ways = (terms, in_bands * terms.sum(0))
    found = [jackknife(torch.cat([one.real, one.imag], dim=1), minimiser) for one in ways]
    center, error = found[0][0], max(each[1] for each in found)
    return CenterEstimate(
        center=center,
        error=error,
        method="smoothness of the views and their mirror images",
        candidates=candidates,
        scores=scores,
    )


def corner_terms(
    sinogram: Float64[Tensor, "slices views detectors"],
    scan: ParallelBeam,
    radius: float,
    ring_ratio: float,
) -> tuple[Complex128[Tensor, "groups frequencies"], Float64[Tensor, " frequencies"]]:
    """Return K(ω), for groups of m apart, and the frequencies ω in 1/bin that have a corner."""
    length = 2 ** math.ceil(math.log2(2 * scan.n_detectors))
    n_orders = math.floor(math.pi / step_between_views(scan.angles, math.pi))
    top = (n_orders - _MARGIN) / radius * length / (2 * math.pi)
    k = torch.arange(1, max(2, min(math.ceil(top), length // 2)), dtype=torch.float64)
    omega = 2 * math.pi * k / length
    theta = torch.tensor(scan.angles, dtype=torch.float64)
    m = torch.arange(1, n_orders, dtype=torch.float64)[:, None]
    waves = torch.exp(-1j * m * theta) * view_weights(scan.angles, math.pi)
    noise = waves.abs().square().sum(1)
    weight = noise / (noise + ring_ratio * waves.sum(1).abs().square())
    sign = 1 - 2 * (m % 2)
    corner = (m > radius * omega + _MARGIN) * weight[:, None] * sign
    groups = torch.nn.functional.one_hot(m[:, 0].long() % _GROUPS, _GROUPS).T.to(waves)
    total = torch.zeros(_GROUPS, len(k), dtype=torch.complex128)
    for one in sinogram.cpu():
        spectrum = torch.fft.rfft(one, n=length)[:, 1 : len(k) + 1]
        total += groups @ (corner * (waves @ spectrum) * (waves.conj() @ spectrum))
    return total, omega
