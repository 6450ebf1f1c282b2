"""Orthonormal bases for patches and for groups of them, and the coefficients of patches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ct.nonlocal_prior.blocks import Blocks

_KAISER = 2.0  # of the window that fades a patch out toward its edges


@dataclass(frozen=True, kw_only=True)
class PatchTransform:
    """Orthonormal bases: cosines over a patch, Haar wavelets over a group.

    Attributes:
        patch: one basis patch a row, the constant first.
        group: one basis vector a row, the constant first.
        window: what a patch's pixels count when patches are put together.
    """

    patch: Float[Tensor, "coefficients side side"]
    group: Float[Tensor, "group group"]
    window: Float[Tensor, "side side"]


def patch_transform(blocks: Blocks, like: Tensor) -> PatchTransform:
    """Return the bases for patches and groups of that size.

    Args:
        blocks: the sizes.
        like: a tensor of the device and dtype to compute in.
    """
    cosines = _cosines(blocks.side)
    patch = torch.einsum("ai,bj->abij", cosines, cosines).flatten(0, 1)
    window = torch.kaiser_window(
        blocks.side, periodic=False, beta=_KAISER, dtype=torch.float64, device="cpu"
    )
    return PatchTransform(
        patch=patch.to(like),
        group=_haar(blocks.group).to(like),
        window=torch.outer(window, window).to(like),
    )


def coefficients_of(
    image: Float[Tensor, "rows columns"], transform: PatchTransform
) -> Float[Tensor, "patches coefficients"]:
    """Return the coefficients of every patch, in the order of their numbers."""
    side = transform.patch.shape[-1]
    patches = image.unfold(0, side, 1).unfold(1, side, 1).reshape(-1, side**2)
    return patches @ transform.patch.flatten(1).T


def _cosines(n: int) -> Float[Tensor, "n n"]:
    k = torch.arange(n, dtype=torch.float64)[:, None]
    at = 2 * torch.arange(n, dtype=torch.float64) + 1
    basis = math.sqrt(2 / n) * torch.cos(math.pi / (2 * n) * k * at)
    basis[0] /= math.sqrt(2)
    return basis


def _haar(n: int) -> Float[Tensor, "n n"]:
    basis = torch.ones(1, 1, dtype=torch.float64)
    while len(basis) < n:
        detail = torch.eye(len(basis), dtype=torch.float64)
        sums = torch.kron(basis, basis.new_tensor([[1.0, 1.0]]))
        differences = torch.kron(detail, basis.new_tensor([[1.0, -1.0]]))
        basis = torch.cat([sums, differences]) / math.sqrt(2)
    return basis
