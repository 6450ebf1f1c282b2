"""The ramp filter of filtered back-projection, for straight detectors and arcs."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Float64
from scipy.fft import next_fast_len
from torch import Tensor

from ct.classical.windows import Window


def ramp_filtered(
    sinogram: Float[Tensor, "*batch views detectors"],
    spacing: float,
    window: Window,
    arc_radius: float | None = None,
) -> Float[Tensor, "*batch views detectors"]:
    """Convolve every view with the ramp filter times a window.

    The ramp is the transform of its band-limited kernel h, 1/(4Δ²) at zero, −1/(πnΔ)² at odd n and
    nothing at even n, so that means are right. On an arc of radius F around the source the kernel
    is h · (γ/sin γ)² with γ = nΔ/F. Beyond its ends a view counts as zero.

    Args:
        sinogram: views, in any unit.
        spacing: Δ, the distance between bins in mm.
        window: factor on the ramp, of the frequency along the detector.
        arc_radius: F in mm; None for a straight detector.

    Returns:
        Δ · (h ∗ p), in the sinogram's unit per mm.

    Source:
        A. C. Kak and M. Slaney, Principles of Computerized Tomographic Imaging, 1988, chapter 3.

    Example:
        >>> from ct.classical.windows import ramp
        >>> ramp_filtered(torch.tensor([[0.0, 1.0, 0.0]]), 1.0, ramp)
        tensor([[-0.1013,  0.2500, -0.1013]])
    """
    n = sinogram.shape[-1]
    length = next_fast_len(2 * n, real=True)  # zeros, so that views do not wrap around
    response = _response(n, length, spacing, window, arc_radius, sinogram.device)
    spectrum = torch.fft.rfft(sinogram, n=length) * response.to(sinogram.dtype)
    filtered: Tensor = torch.fft.irfft(spectrum, n=length)
    return filtered[..., :n]


def _response(
    n: int,
    length: int,
    spacing: float,
    window: Window,
    arc_radius: float | None,
    device: torch.device,
) -> Float64[Tensor, " frequencies"]:
    lag = torch.arange(length, dtype=torch.float64, device=device)
    lag = torch.minimum(lag, length - lag)
    kernel = torch.where(lag % 2 == 1, -1 / (math.pi * lag.clamp(min=1)) ** 2, 0.0)
    kernel[0] = 0.25
    if arc_radius is not None:
        # lags that no pair of bins has do not matter, and their sine may vanish
        gamma = lag.clamp(max=n - 1) * (spacing / arc_radius)
        kernel /= torch.sinc(gamma / math.pi).square()
    frequency = torch.arange(length // 2 + 1, dtype=torch.float64, device=device) * (2 / length)
    response: Tensor = torch.fft.rfft(kernel).real * window(frequency) / spacing
    return response
