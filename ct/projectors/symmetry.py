"""Views that are one another's mirror images or quarter turns, so that one view's weights do."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ct.geometry import FanBeam, ImageGrid, Scan

_SAME_ANGLE = 1e-12  # radians: the rounding of kπ/n; 1e-9 pixels at the edge of a large image
_MOST_WASTE = 1.5  # products of weights and moved images, over those that are used


@dataclass(frozen=True)
class Move:
    """A mirror image in the y axis (or none), then counter-clockwise quarter turns, of the plane.

    Attributes:
        mirrored: whether x becomes −x first.
        turns: quarter turns, 0 to 3.
    """

    mirrored: bool = False
    turns: int = 0

    def image_before(self, images: Float[Tensor, "*batch h w"]) -> Float[Tensor, "*batch h1 w1"]:
        """Return the images as they were before the move, a view of them: p ↦ image(move(p))."""
        turned = images.rot90(-self.turns, dims=(-2, -1)) if self.turns else images
        return turned.flip(-1) if self.mirrored else turned

    def image_after(self, images: Float[Tensor, "*batch h w"]) -> Float[Tensor, "*batch h1 w1"]:
        """Return the images as they are after the move; undoes `image_before`."""
        mirrored = images.flip(-1) if self.mirrored else images
        return mirrored.rot90(self.turns, dims=(-2, -1)) if self.turns else mirrored


@dataclass(frozen=True, kw_only=True)
class Symmetry:
    """Which views to compute weights for, and how the others follow from them.

    Attributes:
        kept: indices of the views whose weights are needed.
        moves: the moves in use, the first of which moves nothing.
        source: for every view, the place in `kept` of the view it follows from.
        move: for every view, the place in `moves` of the move that carries that view to it.
    """

    kept: tuple[int, ...]
    moves: tuple[Move, ...]
    source: tuple[int, ...]
    move: tuple[int, ...]

    def ray_index(self, scan: Scan) -> Tensor:
        """Return where each ray's value stands among [kept view, detector, move].

        Args:
            scan: the scan.

        Returns:
            [views · detectors], int64; a fan's mirror image has its bins the other way round.
        """
        detector = torch.arange(scan.n_detectors)
        index = torch.empty(scan.n_views, scan.n_detectors, dtype=torch.int64)
        for view, (source, move) in enumerate(zip(self.source, self.move, strict=True)):
            reverse = isinstance(scan, FanBeam) and self.moves[move].mirrored
            bins = detector.flip(0) if reverse else detector
            index[view] = (source * scan.n_detectors + bins) * len(self.moves) + move
        return index.flatten()


def find_symmetry(grid: ImageGrid, scan: Scan) -> Symmetry:
    """Return the views that suffice, by the symmetry of a grid that is centred on the axis.

    A turn by π/2 carries the view at θ to that at θ + π/2, and a mirror image in the y axis the
    view at θ to that at π − θ (parallel beam) or −θ (a fan that is symmetric itself). A quarter
    turn needs a square grid. It makes rows columns: so are they chosen, except along diagonals,
    where both give the same weights.

    Args:
        grid: where the pixels are.
        scan: where the rays are.

    Returns:
        The symmetry; every view for itself where little would be gained.
    """
    square = grid.shape[0] == grid.shape[1]
    kept: list[int] = []
    found: list[tuple[int, Move]] = []
    alike: dict[int, list[int]] = {}
    for view, angle in enumerate(scan.angles):
        candidates = alike.setdefault(_fold(angle), [])
        for place in candidates:
            move = _move(scan, scan.angles[kept[place]], angle, turnable=square)
            if move:
                found.append((place, move))
                break
        else:
            candidates.append(len(kept))
            found.append((len(kept), Move()))
            kept.append(view)
    moves = tuple(dict.fromkeys([Move(), *(move for _, move in found)]))
    if len(kept) * len(moves) > _MOST_WASTE * scan.n_views:
        each = tuple(range(scan.n_views))
        return Symmetry(kept=each, moves=(Move(),), source=each, move=(0,) * scan.n_views)
    return Symmetry(
        kept=tuple(kept),
        moves=moves,
        source=tuple(source for source, _ in found),
        move=tuple(moves.index(move) for _, move in found),
    )


def _fold(angle: float) -> int:
    """Return a number that views have in common where they may be alike."""
    return round(abs(math.remainder(angle, math.pi / 2)) * 1e9)


def _move(scan: Scan, source: float, angle: float, *, turnable: bool) -> Move | None:
    """Return the move that carries the view at `source` to that at `angle`, if there is one.

    Without `turnable`, rows must stay rows.
    """
    for mirrored in (False, True):
        if not mirrored:
            start = source
        elif not isinstance(scan, FanBeam):
            start = math.pi - source
        elif scan.source_offset == 0 and scan.center == (scan.n_detectors - 1) / 2:
            start = -source
        else:
            continue
        turns = round((angle - start) / (math.pi / 2))
        if turns % 2 and not turnable:
            continue
        if abs(angle - start - turns * math.pi / 2) < _SAME_ANGLE:
            return Move(mirrored=mirrored, turns=turns % 4)
    return None
