"""The Shepp–Logan phantom, and random ones like it."""

from __future__ import annotations

import math

import torch

from bayesnn.seeds import seeded_generator
from ct.data.ellipses import Ellipse, EllipsePhantom
from ct.geometry import ImageGrid

# value (original, modified), half width, half height, x, y in half sides, tilt in degrees
_SHEPP_LOGAN = (
    (2.00, 1.0, 0.6900, 0.9200, 0.00, 0.0000, 0.0),
    (-0.98, -0.8, 0.6624, 0.8740, 0.00, -0.0184, 0.0),
    (-0.02, -0.2, 0.1100, 0.3100, 0.22, 0.0000, -18.0),
    (-0.02, -0.2, 0.1600, 0.4100, -0.22, 0.0000, 18.0),
    (0.01, 0.1, 0.2100, 0.2500, 0.00, 0.3500, 0.0),
    (0.01, 0.1, 0.0460, 0.0460, 0.00, 0.1000, 0.0),
    (0.01, 0.1, 0.0460, 0.0460, 0.00, -0.1000, 0.0),
    (0.01, 0.1, 0.0460, 0.0230, -0.08, -0.6050, 0.0),
    (0.01, 0.1, 0.0230, 0.0230, 0.00, -0.6060, 0.0),
    (0.01, 0.1, 0.0230, 0.0460, 0.06, -0.6050, 0.0),
)
_PERTURBATION = 1 / 20
_THINNEST = 0.01


def shepp_logan(
    grid: ImageGrid, *, original: bool = False, seed: int | None = None, index: int = 0
) -> EllipsePhantom:
    """Return the Shepp–Logan head phantom, as large as the grid, or a random one like it.

    With a seed, N(0, 1)/20 is added to every ellipse's value, semi-axes, centre (in halves of the
    grid's shorter side) and tilt (radians). The two ellipses that bound the skull share the
    changes of shape and place, so that it stays closed; semi-axes stay above 0.01; where the skull
    would leave the grid, all is shrunk to fit. Values may fall a little below 0.

    Args:
        grid: its shorter side is the phantom's unit square.
        original: the values of 1974 (skull 2, brain 1.02, details of 0.01) rather than the usual
            ones of higher contrast (1, 0.2, 0.1).
        seed: of the changes; None for none.
        index: number of the phantom in its series, each with its own changes.

    Returns:
        The phantom: `image(grid)` renders it, `sinogram(scan)` gives its exact line integrals.

    Source:
        L. A. Shepp and B. F. Logan, The Fourier reconstruction of a head section, IEEE Transactions
        on Nuclear Science 21(3), 1974; the values of higher contrast: P. A. Toft, The Radon
        transform, thesis, 1996. Random changes: Vasconcelos et al., UncertaINR, TMLR 2023.

    Example:
        >>> grid = ImageGrid((64, 64))
        >>> [round(float(v), 3) for v in shepp_logan(grid).image(grid)[[0, 32, 22], 32]]
        [0.0, 0.2, 0.3]
    """
    half_side = min(grid.shape) * grid.pixel_size / 2
    table = torch.tensor(_SHEPP_LOGAN, dtype=torch.float64)
    values, shapes = table[:, 0 if original else 1], table[:, 2:]
    shapes[:, -1].deg2rad_()
    if seed is not None:
        changes = _PERTURBATION * torch.randn(
            len(table), 6, dtype=torch.float64, generator=seeded_generator(seed, index)
        )
        changes[1, 1:] = changes[0, 1:]
        values = values + changes[:, 0]
        shapes = shapes + changes[:, 1:]
        shapes[:, :2] = shapes[:, :2].abs().clamp(min=_THINNEST)
        shapes[:, :4] /= max(1.0, _reach(*shapes[0].tolist()))
    shapes[:, :4] *= half_side
    names = ("half_width", "half_height", "x", "y", "tilt")
    return EllipsePhantom(
        tuple(
            Ellipse(value=value, **dict(zip(names, shape, strict=True)))
            for value, shape in zip(values.tolist(), shapes.tolist(), strict=True)
        )
    )


def _reach(a: float, b: float, x: float, y: float, tilt: float) -> float:
    """Return the largest |x| or |y| of an ellipse."""
    cos, sin = math.cos(tilt), math.sin(tilt)
    return max(abs(x) + math.hypot(a * cos, b * sin), abs(y) + math.hypot(a * sin, b * cos))
