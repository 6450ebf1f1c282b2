"""Which patches of an image resemble which: block matching."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

_NOWHERE = 1e30  # a distance beyond all others that still can be sorted


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Square patches of an image, and the groups that are formed of them.

    A patch's number is that of its upper left pixel among all places where one fits, row by row.

    Attributes:
        shape: rows and columns of the image.
        side: pixels along a patch's side.
        stride: pixels from one reference patch to the next.
        reach: how far, in pixels along either axis, a group's patches lie from its reference.
        group: patches of a group, a power of two, the reference among them.
    """

    shape: tuple[int, int]
    side: int
    stride: int
    reach: int
    group: int

    @property
    def places(self) -> tuple[int, int]:
        """Rows and columns of places where a patch fits."""
        return self.shape[0] - self.side + 1, self.shape[1] - self.side + 1

    @property
    def reference_rows(self) -> list[int]:
        """Rows of places that have references: each `stride`-th, and the last."""
        return sorted({*range(0, self.places[0], self.stride), self.places[0] - 1})


def blocks_of(
    shape: tuple[int, int], *, side: int = 8, stride: int = 3, reach: int = 16, group: int = 16
) -> Blocks:
    """Return how to cut an image into patches, smaller ones where it is small.

    Args:
        shape: rows and columns of the image.
        side: the most pixels along a patch's side.
        stride: pixels from one reference patch to the next.
        reach: how far a group reaches, in pixels along either axis.
        group: the most patches of a group, a power of two.

    Example:
        >>> blocks_of((3, 40)).side, blocks_of((8, 9)).group
        (3, 2)
    """
    side = min(side, *shape)
    n_near = 1
    for n in shape:
        n_near *= min(n - side, reach) + 1  # what even a corner's reference finds
    return Blocks(
        shape=shape,
        side=side,
        stride=stride,
        reach=reach,
        group=min(group, 1 << (n_near.bit_length() - 1)),
    )


def match_blocks(
    image: Float[Tensor, "rows columns"], blocks: Blocks, *, at_once: int | None = None
) -> Int64[Tensor, "references group"]:
    """Find the patches that are nearest to each reference patch, by mean squared difference.

    Distances come one vertical offset after the other, so that memory does not grow with the
    square of `reach`.

    Args:
        image: any image of the blocks' shape.
        blocks: how it is cut.
        at_once: of how many horizontal offsets differences are taken at once; None for all.

    Returns:
        The patches' numbers, each reference first.

    Example:
        >>> blocks = blocks_of((4, 16), side=4, stride=4, group=2)
        >>> match_blocks(torch.arange(16.0).repeat(4, 1) % 8, blocks).tolist()[0]
        [0, 8]
    """
    rows, columns = (_references(n, blocks.stride, image.device) for n in blocks.places)
    first = (rows[:, None] * blocks.places[1] + columns).flatten()
    # nearer than any twin, so that every reference stays in its own group
    nearest = image.new_full((1, len(first)), -math.inf)
    numbers = first[None]
    right = min(blocks.places[1] - 1, blocks.reach)
    steps = torch.arange(-right, right + 1, device=image.device)
    padded = torch.nn.functional.pad(image, (right, right))
    # places where the patch beside a reference would leave the image
    out_right = ((columns + steps[:, None]) < 0) | (columns + steps[:, None] >= blocks.places[1])
    at_once = len(steps) if at_once is None else at_once
    down_most = min(blocks.places[0] - 1, blocks.reach)
    for down in range(-down_most, down_most + 1):
        top, bottom = max(0, -down), min(blocks.shape[0], blocks.shape[0] - down)
        moved = padded[top + down : bottom + down].unfold(1, blocks.shape[1], 1)
        low, high = _inside(blocks, down)
        distance = image.new_full((len(steps), len(rows), len(columns)), _NOWHERE)
        starts = rows[low:high] - top
        for first_step in range(0, len(steps), at_once):
            part = slice(first_step, first_step + at_once)
            squares = (image[top:bottom, None] - moved[:, part]).square_()  # [rows, steps, columns]
            tall = _window_sums(squares, 0, starts, blocks.side)
            patches = _window_sums(tall, 2, columns, blocks.side)
            distance[part, low:high] = patches.movedim(1, 0)
        distance.masked_fill_(out_right[:, None], _NOWHERE)
        if down == 0:
            distance[right] = _NOWHERE  # the reference itself stands there already
        nearest = torch.cat([nearest, distance.flatten(1)])
        numbers = torch.cat([numbers, first + (down * blocks.places[1] + steps)[:, None]])
        if len(nearest) > blocks.group:
            nearest, chosen = nearest.topk(blocks.group, dim=0, largest=False, sorted=True)
            numbers = numbers.gather(0, chosen)
    return numbers.T.contiguous()


def _references(n_places: int, stride: int, device: torch.device) -> Int64[Tensor, " n"]:
    positions = torch.arange(0, n_places, stride, device=device)
    # the last patch is a reference too, or the image's edge would not be covered
    missed = int((n_places - 1) % stride > 0)
    return torch.cat([positions, positions.new_full((missed,), n_places - 1)])


def _inside(blocks: Blocks, down: int) -> tuple[int, int]:
    """Return which rows of references have patches at that offset: from, and to before."""
    n_places = blocks.places[0]
    inside = [k for k, at in enumerate(blocks.reference_rows) if 0 <= at + down < n_places]
    return (inside[0], inside[-1] + 1) if inside else (0, 0)


def _window_sums(
    values: Float[Tensor, "rows steps columns"], axis: int, starts: Int64[Tensor, " n"], side: int
) -> Float[Tensor, "_ _ _"]:
    """Return sums over `side` neighbours along an axis: differences of a running sum."""
    running = values.cumsum(axis)
    before = running.index_select(axis, (starts - 1).clamp(min=0))
    # nothing stands before the first one
    shape = [-1 if k == axis else 1 for k in range(values.ndim)]
    before *= (starts > 0).to(values.dtype).view(shape)
    return running.index_select(axis, starts + (side - 1)) - before
