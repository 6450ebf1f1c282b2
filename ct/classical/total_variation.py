"""Total variation: how much an image jumps between neighbouring pixels."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def anisotropic_tv(image: Float[Tensor, "*batch rows columns"]) -> Float[Tensor, "*batch"]:
    """Sum of the absolute differences of all pixels to the ones below and to the right.

    TV(x) = Σ_ij |x_{i+1,j} − x_ij| + |x_{i,j+1} − x_ij|, over the pairs inside the image, in
    image units: the pixel size does not enter.

    Args:
        image: any number of images.

    Returns:
        One value an image; at a pair of equal pixels the gradient taken is zero.

    Source:
        L. Rudin, S. Osher, E. Fatemi, Physica D 60, 1992; this is the form of UncertaINR's loss.

    Example:
        >>> anisotropic_tv(torch.tensor([[0.0, 0.0], [0.0, 3.0]]))
        tensor(6.)
    """
    down = image.diff(dim=-2).abs().sum(dim=(-2, -1))
    right = image.diff(dim=-1).abs().sum(dim=(-2, -1))
    return down + right


def isotropic_tv(
    image: Float[Tensor, "*batch rows columns"], smoothing: float = 1e-6
) -> Float[Tensor, "*batch"]:
    """Sum over pixels of the length of the difference vector: edges of all directions cost alike.

    TV(x) = Σ_ij √((x_{i+1,j} − x_ij)² + (x_{i,j+1} − x_ij)² + ε²) − ε, in image units. A
    difference that would leave the image counts as zero.

    Args:
        image: any number of images.
        smoothing: ε in image units, above zero. It keeps the gradient finite at flat pixels, and
            lowers the value by less than ε a pixel.

    Returns:
        One value an image.

    Raises:
        ValueError: the smoothing is not above zero.

    Source:
        L. Rudin, S. Osher, E. Fatemi, Physica D 60, 1992.

    Example:
        >>> isotropic_tv(torch.tensor([[0.0, 3.0], [4.0, 4.0]]))
        tensor(6.0000)
    """
    if not smoothing > 0:
        raise ValueError(f"smoothing: expected a number above 0, got {smoothing!r}.")
    down = torch.nn.functional.pad(image.diff(dim=-2), (0, 0, 0, 1))
    right = torch.nn.functional.pad(image.diff(dim=-1), (0, 1))
    length = (down.square() + right.square() + smoothing**2).sqrt() - smoothing
    return length.sum(dim=(-2, -1))
