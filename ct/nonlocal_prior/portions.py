"""How much of the work in patches is done at once: coefficients are many for each pixel."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ct.nonlocal_prior.blocks import Blocks

_MOST_GROUPS_CPU, _MOST_GROUPS = 1024, 4096  # more at once are no faster
_GROUPS_SHARE = 4  # of the bytes, one in so many is for groups in work
# arrays that live at once, by a count of the bytes of tensors:
_OF_GROUPS = 8  # their coefficients, gains and variances
_OF_PATCHES = 4  # coefficients of an image and of its pilot, and sums; or of noise and its squares
_OF_SUMS_GPU = 1  # more, for sums of 8 bytes
_OF_PIXELS = 4  # squared differences to the image beside, and their running sums
_OF_CANDIDATES = 2  # the nearest patches so far with those at one vertical offset, before and after


@dataclass(frozen=True, kw_only=True)
class Portions:
    """What is in work at once.

    Attributes:
        offsets: horizontal offsets to which patches are compared.
        cell_rows: rows of cells of which noise is measured.
        group_rows: rows of groups, for all patches of which coefficients are at hand.
        groups: groups among them that are being filtered.
    """

    offsets: int
    cell_rows: int
    group_rows: int
    groups: int


def portions_under(budget: int | None, blocks: Blocks, like: Tensor) -> Portions:
    """Return portions of work that take a number of bytes, or the smallest ones.

    The smallest hold four arrays of the coefficients of 2·reach + 1 rows of patches, all that one
    row of groups may need, however small the budget is.

    Args:
        budget: the bytes; None for any number.
        blocks: how the image is cut.
        like: a tensor of the device and dtype of the work.

    Example:
        >>> import torch
        >>> from ct.nonlocal_prior.blocks import blocks_of
        >>> portions = portions_under(64 * 2**20, blocks_of((512, 512)), torch.zeros(1))
        >>> portions.group_rows, portions.groups
        (22, 512)
    """
    most = _MOST_GROUPS if like.is_cuda else _MOST_GROUPS_CPU
    size, n_rows = like.element_size(), len(blocks.reference_rows)
    n_offsets = 2 * blocks.reach + 1
    if budget is None:
        return Portions(offsets=n_offsets, cell_rows=n_rows, group_rows=n_rows, groups=most)
    group = _OF_GROUPS * size * blocks.group * blocks.side**2
    groups = min(most, max(1, budget // _GROUPS_SHARE // group))
    row = (_OF_PATCHES + _OF_SUMS_GPU * like.is_cuda) * size * blocks.places[1] * blocks.side**2
    rows = (budget - groups * group) // row
    # the patches of a group lie up to the reach above and below
    group_rows = max(1, (rows - 2 * blocks.reach - 1) // blocks.stride + 1)
    n_references = n_rows * (blocks.places[1] // blocks.stride + 1)
    # each with its distance and its number, of 8 bytes
    candidates = _OF_CANDIDATES * (size + 8) * (blocks.group + n_offsets) * n_references
    pixels = _OF_PIXELS * size * blocks.shape[0] * blocks.shape[1]
    return Portions(
        offsets=max(1, (budget - candidates) // pixels),
        cell_rows=max(1, budget // row // blocks.side),
        group_rows=n_rows if rows >= blocks.places[0] else group_rows,
        groups=groups,
    )
