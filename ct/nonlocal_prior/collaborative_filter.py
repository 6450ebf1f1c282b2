"""Groups of patches that resemble each other, cleaned of noise together in a transform domain."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ct.nonlocal_prior.blocks import Blocks
from ct.nonlocal_prior.noise_levels import NoiseLevels
from ct.nonlocal_prior.patch_bases import PatchTransform, coefficients_of
from ct.nonlocal_prior.portions import Portions, portions_under
from ct.posterior.chunked import in_chunks

_LEAST_GAIN = 0.1  # a group that is all but zero has no gain, and shall not count endlessly
_BITS = 40  # sums in fixed point keep so many bits of the largest term

Gain: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From coefficients [group, references, patch], a pilot's and the noise's variances to gains."""


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
    portions: Portions | None = None,
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
        portions: what is in work at once; None for all. The result is the same, to rounding.

    Returns:
        The cleaned image.

    Source:
        K. Dabov, A. Foi, V. Katkovnik, K. Egiazarian, Image denoising by sparse 3-D
        transform-domain collaborative filtering, IEEE Transactions on Image Processing 16, 2007.

    Example:
        >>> from ct.nonlocal_prior.blocks import blocks_of, match_blocks
        >>> from ct.nonlocal_prior.noise_levels import white_noise
        >>> from ct.nonlocal_prior.patch_bases import patch_transform
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
    at_once = portions or portions_under(None, blocks, image)
    rows, columns = blocks.reference_rows, blocks.places[1]
    in_row = len(matches) // len(rows)
    filtered = partial(
        _filtered, gain=gain, levels=levels, transform=transform, at_once=at_once.groups
    )
    total = image.new_zeros(2, *image.shape)

    def add_rows(chunk: range) -> None:
        top = max(0, rows[chunk.start] - blocks.reach)
        bottom = min(blocks.places[0], rows[chunk.stop - 1] + blocks.reach + 1) + blocks.side - 1
        images = [image[top:bottom]] if pilot is None else [image[top:bottom], pilot[top:bottom]]
        sums, weights = filtered(
            [coefficients_of(one, transform) for one in images],
            matches[chunk.start * in_row : chunk.stop * in_row],
            first=top * columns,
        )
        total[:, top:bottom] += _add_up(sums, weights, transform, (bottom - top, image.shape[1]))

    in_chunks(add_rows, n=len(rows), at_once=at_once.group_rows, what="rows of groups")
    return total[0] / total[1]


def _filtered(
    spectra: list[Tensor],
    matches: Int64[Tensor, "references group"],
    *,
    first: int,
    gain: Gain,
    levels: NoiseLevels,
    transform: PatchTransform,
    at_once: int,
) -> tuple[Float[Tensor, "patches coefficients"], Float[Tensor, " patches"]]:
    """Return coefficients of cleaned patches times the weights of their groups, and these, added.

    Args:
        spectra: coefficients of the image's patches, and of the pilot's, if there is one.
        matches: the groups.
        first: number of the patch that is the spectra's first.
        gain: what a group's coefficients are multiplied by.
        levels: the noise of patches.
        transform: bases of patches and groups.
        at_once: how many groups are in work.
    """
    noisy = spectra[0]
    exact = noisy.is_cuda
    unit = _unit(noisy) if exact else 1.0
    sums = torch.zeros_like(noisy, dtype=torch.long if exact else noisy.dtype)
    weights = torch.zeros_like(sums[:, 0])
    usual = levels.usual
    for begin in range(0, len(matches), at_once):
        some = matches[begin : begin + at_once]
        place = (some - first).T.contiguous()
        patches, weight = _filtered_groups(
            [one[place] for one in spectra], levels.of(some.T), usual, gain, transform
        )
        each = weight.expand(place.shape)
        if exact:
            patches, each = (patches / unit).round_().long(), (each * 2.0**_BITS).round_().long()
        sums.index_add_(0, place.flatten(), patches.flatten(0, 1))
        weights.index_add_(0, place.flatten(), each.flatten())
    if exact:
        return sums.to(noisy).mul_(unit), weights.to(noisy).div_(2.0**_BITS)
    return sums, weights


def _filtered_groups(
    spectra: list[Tensor],
    variances: Float[Tensor, "group references coefficients"],
    usual: Float[Tensor, ""],
    gain: Gain,
    transform: PatchTransform,
) -> tuple[Float[Tensor, "group references coefficients"], Float[Tensor, " references"]]:
    groups, pilots = (_along_group(transform.group, spectra[k]) for k in (0, -1))
    # a group's coefficients mix those of its patches, whose noise is taken as independent
    variances = _along_group(transform.group.square(), variances)
    gains = gain(groups, pilots, variances)
    weight = _weight(gains, variances / usual)
    return _along_group(transform.group.T, gains * groups) * weight[:, None], weight


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


def _add_up(
    sums: Float[Tensor, "patches coefficients"],
    weights: Float[Tensor, " patches"],
    transform: PatchTransform,
    shape: tuple[int, int],
) -> Float[Tensor, "two rows columns"]:
    """Return pixels of all patches times their windows and weights, and these weights, added."""
    side = transform.window.shape[0]
    window = transform.window.flatten()[:, None]
    faded = window * transform.patch.flatten(1).T
    above = torch.nn.functional.fold((faded @ sums.T)[None], shape, side)
    below = torch.nn.functional.fold((window * weights)[None], shape, side)
    return torch.cat([above, below])[:, 0]


def _unit(values: Tensor) -> Tensor:
    """Return the unit of fixed-point sums, a power of two, so that units of images do not matter.

    A group's largest coefficient is at most √group times that of its patches.
    """
    return torch.exp2(values.abs().amax().clamp(min=1e-30).log2().ceil() - (_BITS - 4))
