"""Differences of neighbouring pixels, their adjoint, and fields whose adjoint is given."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

Lengths: TypeAlias = Callable[[Tensor], Tensor]
"""From a field [*batch, 2, rows, columns] to what total variation adds up: `isotropic` or
`anisotropic`."""


def differences(
    image: Float[Tensor, "*batch rows columns"],
) -> Float[Tensor, "*batch 2 rows columns"]:
    """Return D x: each pixel's difference to the one below and to the one on its right.

    A difference that would leave the image is zero.

    Example:
        >>> differences(torch.tensor([[0.0, 3.0], [4.0, 4.0]])).tolist()
        [[[4.0, 1.0], [0.0, 0.0]], [[3.0, 0.0], [0.0, 0.0]]]
    """
    field = image.new_zeros(*image.shape[:-2], 2, *image.shape[-2:])
    torch.sub(image[..., 1:, :], image[..., :-1, :], out=field[..., 0, :-1, :])
    torch.sub(image[..., :, 1:], image[..., :, :-1], out=field[..., 1, :, :-1])
    return field


def differences_adjoint(
    field: Float[Tensor, "*batch 2 rows columns"],
) -> Float[Tensor, "*batch rows columns"]:
    """Return Dᵀ p, the negative divergence; what leaves the image counts for nothing.

    Example:
        >>> differences_adjoint(torch.ones(2, 2, 2))
        tensor([[-2.,  0.],
                [ 0.,  2.]])
    """
    down, right = field[..., 0, :-1, :], field[..., 1, :, :-1]
    image = field.new_zeros(*field.shape[:-3], *field.shape[-2:])
    image[..., 1:, :] += down
    image[..., :-1, :] -= down
    image[..., :, 1:] += right
    image[..., :, :-1] -= right
    return image


def isotropic(
    field: Float[Tensor, "*batch 2 rows columns"],
) -> Float[Tensor, "*batch 1 rows columns"]:
    """Return the Euclidean length at each pixel: edges of all directions cost alike.

    Example:
        >>> isotropic(torch.tensor([[[3.0]], [[4.0]]]))
        tensor([[[5.]]])
    """
    # two components by name: a reduction over a dimension of two is slow on a CPU
    return torch.hypot(field[..., :1, :, :], field[..., 1:, :, :])


def anisotropic(
    field: Float[Tensor, "*batch 2 rows columns"],
) -> Float[Tensor, "*batch 2 rows columns"]:
    """Return both absolute values: edges along rows and columns are the cheapest.

    Example:
        >>> anisotropic(torch.tensor([[[3.0]], [[-4.0]]])).flatten()
        tensor([3., 4.])
    """
    return field.abs()


def smallest_field(
    image: Float[Tensor, "*batch rows columns"],
) -> Float[Tensor, "*batch 2 rows columns"]:
    """Return the field p of the least sum of squares with Dᵀ p = image − its mean.

    p = D u, where u solves Poisson's equation DᵀD u = image − mean; DᵀD is diagonal under the
    cosine transform, here the Fourier transform of the image mirrored at its lower and right side.

    Args:
        image: any number of images.

    Returns:
        One field an image.

    Example:
        >>> field = smallest_field(torch.tensor([[0.0, 1.0], [2.0, 5.0]]))
        >>> differences_adjoint(field).round(decimals=5)
        tensor([[-2., -1.],
                [ 0.,  3.]])
    """
    rows, columns = image.shape[-2:]
    mirrored = torch.cat([image, image.flip(-2)], dim=-2)
    mirrored = torch.cat([mirrored, mirrored.flip(-1)], dim=-1)
    spectrum = torch.fft.rfft2(mirrored)
    eigenvalues = (
        squared_frequency(2 * rows, image.device)[:, None]
        + squared_frequency(2 * columns, image.device)[: columns + 1]
    )
    eigenvalues[0, 0] = math.inf  # the mean, which no field has
    spectrum /= eigenvalues.to(image.dtype)
    potential = torch.fft.irfft2(spectrum, s=mirrored.shape[-2:])
    return differences(potential[..., :rows, :columns])


def squared_frequency(n: int, device: torch.device) -> Float[Tensor, " n"]:
    """Return |1 − e^{iω}|² at the n frequencies ω = 2πk/n of a Fourier transform, in float64.

    Example:
        >>> squared_frequency(4, torch.device("cpu")).round(decimals=6)
        tensor([0., 2., 4., 2.], dtype=torch.float64)
    """
    k = torch.arange(n, dtype=torch.float64, device=device)
    return 2 - 2 * torch.cos(2 * math.pi * k / n)
