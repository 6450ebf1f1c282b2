"""Centre and beam hardening together, from what no object of finite size can show."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex128, Float64
from torch import Tensor

from ct.alignment.turns import step_between_views, view_weights
from ct.geometry import ParallelBeam

_MARGIN = 3  # angular frequencies by which an object's edges spill over the wedge's border
_GROUPS = 10
_MOST_ORDERS = 128  # angular frequencies; with more views, more would add work and little else
_COARSE, _STEP = 1.0, 0.02  # bins between the centres that are tried, first and last


@dataclass(frozen=True, kw_only=True)
class CornerFit:
    """What makes the views and their mirror images most nearly one smooth full turn.

    Attributes:
        shift: the centre that fits minus the scan's, in bins.
        shift_error: its standard deviation.
        hardening: β of y = p − βp², the line integrals p lowered to y by beam hardening.
        hardening_error: its standard deviation.
    """

    shift: float
    shift_error: float
    hardening: float
    hardening_error: float


def fit_empty_corner(
    sinogram: Float64[Tensor, "views detectors"], scan: ParallelBeam, *, radius: float
) -> CornerFit:
    """Fit a shift of the centre and a hardening to half a turn or more of a parallel beam.

    The transforms F₁ of y and F₂ of y², each with its mirror image about c (as in
    `ct.alignment.empty_corner`), should give F₁ + βF₂ = 0 at |m| > R|ω|, and at ω = 0 (every view
    holds the same mass) for all m > 0. Both sums of squares and their product are closed forms in
    c, so that β(c) = −⟨F₂, F₁⟩/⟨F₂, F₂⟩ and what is left are found for all c at once. Errors are
    those of the jackknife over angular frequencies.

    Args:
        sinogram: line integrals.
        scan: where the rays are.
        radius: radius of the object around the axis, in bins.

    Returns:
        Shift and hardening.
    """
    constants, kernels, omega, n_terms = _corner_sums(sinogram, scan, radius)

    def fit_among(
        centers: Float64[Tensor, " centers"],
        phases: Complex128[Tensor, "centers frequencies"],
        constant: Float64[Tensor, " 3"],
        kernel: Complex128[Tensor, "3 frequencies"],
    ) -> list[float]:
        one, cross, two = (constant[:, None] + (phases @ kernel.T).real.T).unbind(0)
        beta = -cross / two.clamp(min=1e-300)
        left = one + cross * beta
        best = int(left.argmin())
        return [float(part[best]) for part in (centers, beta, left, two)]

    all_constants, all_kernels = constants.sum(0), kernels.sum(0)
    anywhere = torch.arange(0, scan.n_detectors, _COARSE, dtype=torch.float64)
    phases = torch.exp(2j * omega * anywhere[:, None])
    first = fit_among(anywhere, phases, all_constants, all_kernels)[0]
    near = first + torch.arange(-_COARSE, _COARSE + _STEP / 2, _STEP, dtype=torch.float64)
    phases = torch.exp(2j * omega * near[:, None])
    center, beta, left, two = fit_among(near, phases, all_constants, all_kernels)
    without = [
        fit_among(near, phases, all_constants - constant, all_kernels - kernel)[0]
        for constant, kernel in zip(constants, kernels, strict=True)
    ]
    spread = float(torch.tensor(without, dtype=torch.float64).var(correction=0))
    # y² has noise of 2y times that of y, which pulls β down by as much as noise is left
    bias = 2 * float(sinogram.mean()) * left / two
    return CornerFit(
        shift=center - scan.center,
        shift_error=math.hypot(math.sqrt((_GROUPS - 1) * spread), _STEP / 2),
        hardening=beta + bias,
        hardening_error=math.sqrt(max(left, 0.0) / (n_terms * two)),
    )


def _corner_sums(
    sinogram: Float64[Tensor, "views detectors"], scan: ParallelBeam, radius: float
) -> tuple[
    Float64[Tensor, "groups 3"],
    Complex128[Tensor, "groups 3 frequencies"],
    Float64[Tensor, " frequencies"],
    float,
]:
    """Return ⟨F₁, F₁⟩, ⟨F₂, F₁⟩, ⟨F₂, F₂⟩ as functions of the centre, and how many terms they have.

    They are constants and kernels over frequencies; the terms are those that are independent.
    """
    length = 2 ** math.ceil(math.log2(2 * scan.n_detectors))
    n_orders = math.floor(math.pi / step_between_views(scan.angles, math.pi))
    n_orders = min(n_orders, _MOST_ORDERS)
    top = math.ceil((n_orders - _MARGIN) / radius * length / (2 * math.pi))
    n_kept = max(2, min(top, length // 2))
    omega = 2 * math.pi * torch.arange(n_kept, dtype=torch.float64) / length
    theta = torch.tensor(scan.angles, dtype=torch.float64)
    m = torch.arange(1, max(n_orders, 2), dtype=torch.float64)[:, None]
    waves = torch.exp(-1j * m * theta) * view_weights(scan.angles, math.pi)
    corner = torch.where(omega == 0, m > 0, m > radius * omega + _MARGIN).double()
    largest = sinogram.abs().max().clamp(min=1e-300)
    ways = torch.stack([sinogram, sinogram.square() / largest])
    spectrum = torch.fft.rfft(ways, n=length)[..., :n_kept]
    ahead, back = waves @ spectrum, waves.conj() @ spectrum
    pairs = ((0, 0), (1, 0), (1, 1))
    scale = torch.tensor([1.0, float(largest), float(largest) ** 2], dtype=torch.float64)
    group = torch.nn.functional.one_hot(m[:, 0].long() // 2 % _GROUPS, _GROUPS).T
    sign = 1 - 2 * (m % 2)
    constant = [(ahead[a] * ahead[b].conj() + back[a] * back[b].conj()).real for a, b in pairs]
    kernel = [sign * (ahead[a] * back[b] + ahead[b] * back[a]) for a, b in pairs]
    constants = torch.stack([(group.double() @ (corner * one)).sum(1) for one in constant], dim=1)
    kernels = torch.stack([group.to(waves) @ (corner * one) for one in kernel], dim=1)
    # the transform is longer than the detector: so many of its frequencies are independent
    n_terms = float(corner.sum()) * scan.n_detectors / length
    # y² had been divided by the largest value, for the sake of rounding
    return constants * scale, kernels * scale[:, None], omega, n_terms
