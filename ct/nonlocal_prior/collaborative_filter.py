"""Groups of patches that resemble each other, cleaned of noise together in a transform domain."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ct.nonlocal_prior.blocks import Blocks
from ct.nonlocal_prior.noise_levels import NoiseLevels

_AT_ONCE = 4096  # groups in work: 256 kB a row of 16 patches of 64 values, 4 MB a thousand groups
_KAISER = 2.0  # of the window that fades a patch out toward its edges
_LEAST_GAIN = 0.1  # a group that is all but zero has no gain, and shall not count endlessly
_BITS = 40  # sums in fixed point keep so many bits of the largest term

Gain: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From coefficients [group, references, patch], a pilot's and the noise's variances to gains."""


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


def hard_threshold(deviations: float) -> Gain:
    """Return the gain 0 of coefficients that noise explains, and 1 of the others.

    A group's mean always stays.

    Args:
        deviations: how many standard deviations of the noise a coefficient must exceed.
    """

    def gain(noisy: Tensor, pilot: Tensor, variance: Tensor) -> Tensor:
        del pilot
        kept = noisy.square() > deviations**2 * variance
        kept[0, :, 0] = True
        return kept.to(noisy.dtype)

    return gain


def wiener(noisy: Tensor, pilot: Tensor, variance: Tensor) -> Tensor:
    """Return the gain p²/(p² + σ²), with p the coefficients of a pilot image."""
    del noisy
    power = pilot.square()
    return power / (power + variance).clamp(min=torch.finfo(power.dtype).tiny)


def collaborative_filter(
    image: Float[Tensor, "rows columns"],
    matches: Int64[Tensor, "references group"],
    gain: Gain,
    levels: NoiseLevels,
    *,
    blocks: Blocks,
    transform: PatchTransform,
    pilot: Float[Tensor, "rows columns"] | None = None,
) -> Float[Tensor, "rows columns"]:
    """Clean groups of patches together, and put the image together from all their patches.

    A patch that is in several groups, and pixels that are in several patches, are averaged; a group
    weighs the more, the less noise its gains leave: one over Σ gain² σ². The result is the same
    each time, on a GPU too: sums go in fixed point.

    Args:
        image: what to clean.
        matches: the groups (`match_blocks`).
        gain: what a group's coefficients are multiplied by (`hard_threshold`, `wiener`).
        levels: the noise of patches.
        blocks: how the image is cut.
        transform: bases of patches and groups.
        pilot: an image that is already cleaner, for `wiener`; None for the image itself.

    Returns:
        The cleaned image.

    Source:
        K. Dabov, A. Foi, V. Katkovnik, K. Egiazarian, Image denoising by sparse 3-D
        transform-domain collaborative filtering, IEEE Transactions on Image Processing 16, 2007.

    Example:
        >>> from ct.nonlocal_prior.blocks import blocks_of, match_blocks
        >>> from ct.nonlocal_prior.noise_levels import white_noise
        >>> blocks = blocks_of((16, 16))
        >>> image = torch.rand(16, 16, generator=torch.Generator().manual_seed(0))
        >>> levels = white_noise(0.0, places=blocks.places, side=8, like=image)
        >>> same = collaborative_filter(
        ...     image, match_blocks(image, blocks), hard_threshold(2.7), levels,
        ...     blocks=blocks, transform=patch_transform(blocks, image),
        ... )
        >>> torch.allclose(same, image, atol=1e-5)
        True
    """
    noisy = coefficients_of(image, transform)
    clean = noisy if pilot is None else coefficients_of(pilot, transform)
    sums = torch.zeros_like(noisy)
    weights = torch.zeros_like(noisy[:, 0])
    exact = noisy.is_cuda
    unit = _unit(noisy) if exact else 1.0
    if exact:
        sums, weights = sums.long(), weights.long()
    # a group's coefficients mix those of its patches, whose noise is taken as independent
    mixing = transform.group.square()
    usual = levels.variances.mean().clamp(min=torch.finfo(noisy.dtype).tiny)
    for begin in range(0, len(matches), _AT_ONCE):
        part = matches[begin : begin + _AT_ONCE].T
        groups = _along_group(transform.group, noisy[part])
        pilots = groups if pilot is None else _along_group(transform.group, clean[part])
        variances = _along_group(mixing, levels.of(part))
        gains = gain(groups, pilots, variances)
        weight = _weight(gains, variances / usual)
        patches = _along_group(transform.group.T, gains * groups) * weight[:, None]
        each = weight.expand(part.shape)
        if exact:
            patches, each = (patches / unit).round().long(), (each * 2.0**_BITS).round().long()
        sums.index_add_(0, part.flatten(), patches.flatten(0, 1))
        weights.index_add_(0, part.flatten(), each.flatten())
    if exact:
        sums, weights = sums.to(noisy.dtype) * unit, weights.to(noisy.dtype) / 2.0**_BITS
    return _put_together(sums, weights, blocks, transform)


def _weight(
    gains: Float[Tensor, "group references coefficients"],
    variances: Float[Tensor, "group references coefficients"],
) -> Float[Tensor, " references"]:
    """Return one over the noise that is left, and the same for all where there is none."""
    left = (gains.square() * variances).sum((0, 2))
    least = _LEAST_GAIN * variances.mean((0, 2))
    return torch.where(least > 0, torch.maximum(left, least), 1.0).reciprocal()


def _along_group(
    basis: Float[Tensor, "group group"], values: Float[Tensor, "group references coefficients"]
) -> Float[Tensor, "group references coefficients"]:
    # one product of large matrices, where one a group would be many small ones
    return (basis @ values.flatten(1)).view(values.shape)


def coefficients_of(
    image: Float[Tensor, "rows columns"], transform: PatchTransform
) -> Float[Tensor, "patches coefficients"]:
    """Return the coefficients of every patch, in the order of their numbers."""
    side = transform.patch.shape[-1]
    patches = image.unfold(0, side, 1).unfold(1, side, 1).reshape(-1, side**2)
    return patches @ transform.patch.flatten(1).T


def _put_together(
    sums: Float[Tensor, "patches coefficients"],
    weights: Float[Tensor, " patches"],
    blocks: Blocks,
    transform: PatchTransform,
) -> Float[Tensor, "rows columns"]:
    window = transform.window.flatten()
    above = (sums @ transform.patch.flatten(1)) * window
    below = weights[:, None] * window
    pixels = [
        torch.nn.functional.fold(one.T[None], blocks.shape, blocks.side) for one in (above, below)
    ]
    return (pixels[0] / pixels[1])[0, 0]


def _unit(values: Tensor) -> Tensor:
    """Return the unit of fixed-point sums, a power of two, so that units of images do not matter.

    A group's largest coefficient is at most √group times that of its patches.
    """
    return torch.exp2(values.abs().amax().clamp(min=1e-30).log2().ceil() - (_BITS - 4))


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
