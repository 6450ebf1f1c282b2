"""Small discs of known contrast, inserted before projecting, and what a reconstruction makes of it.

Many discs fit one slice where they are far apart. Beside them stand empty places, chosen alike, on
which false alarms are counted (`ct.lesion_scores`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bayesnn.checks import check_positive
from bayesnn.seeds import seeded_generator
from ct.result import Reconstruction
from ct.score_regions import body_mask

RING_GAP = 1.5
"""Pixels between a disc and its surroundings."""
RING_WIDTH = 2.5
"""Pixels across the surroundings."""
_TRIES = 400  # random places before a disc is left out
_LOOKS = 8  # places that are free, of which the flattest is taken


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """A disc of one contrast on a pixel's centre.

    Attributes:
        row: of the centre.
        column: of the centre.
        radius: in pixels.
        contrast: what is added to the image, in its units; 0 at an empty place.
    """

    row: int
    column: int
    radius: float
    contrast: float

    @property
    def reach(self) -> float:
        """Pixels from the centre to the end of the surroundings."""
        return self.radius + RING_GAP + RING_WIDTH

    def disc(self, like: Float[Tensor, "rows columns"]) -> Bool[Tensor, "rows columns"]:
        """Return the pixels whose centres lie in the disc."""
        return self._distance(like) <= self.radius

    def surroundings(self, like: Float[Tensor, "rows columns"]) -> Bool[Tensor, "rows columns"]:
        """Return the ring that the disc is compared with."""
        distance = self._distance(like)
        return (distance > self.radius + RING_GAP) & (distance <= self.reach)

    def _distance(self, like: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
        rows = torch.arange(like.shape[0], device=like.device, dtype=torch.float32) - self.row
        columns = torch.arange(like.shape[1], device=like.device, dtype=torch.float32) - self.column
        return torch.hypot(rows[:, None], columns)


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What a reconstruction says of a disc or an empty place.

    Attributes:
        slice_index: number of the slice.
        lesion: the disc.
        found: mean of the disc minus mean of its surroundings, in the reconstruction's mean.
        true: the same in the truth, with the disc.
        spread: posterior standard deviation of `found`, from joint samples; None without them.
        n_samples: how many samples stand behind `spread`; 0 without them.
        region_covered: whether the interval of the disc's mean holds the true one (`region`).
        pixels_covered: share of the disc's pixels whose intervals hold the true value.
    """

    slice_index: int
    lesion: Lesion
    found: float
    true: float
    spread: float | None
    n_samples: int
    region_covered: bool | None
    pixels_covered: float | None


def place_lesions(
    image: Float[Tensor, "rows columns"],
    *,
    radii: Sequence[float],
    contrasts: Sequence[float],
    n_each: int = 2,
    n_empty: int = 10,
    seed: int = 0,
    index: int = 0,
) -> list[Lesion]:
    """Choose random places for discs of all sizes and contrasts, inside the body and far apart.

    A disc and its surroundings lie in the body (`ct.score_regions.body_mask`) and overlap no other
    one's. Of several free places the flattest is taken, where a reader would look for lesions.
    Large discs come first, in each size the contrasts and empty places in random order. Those for
    which no place is left are left out.

    Args:
        image: the slice.
        radii: in pixels.
        contrasts: shares of the image's range, other than 0.
        n_each: how many of each radius and contrast.
        n_empty: how many empty places of each radius.
        seed: seed of the places.
        index: the slice's number; every slice has its own places.

    Returns:
        The discs, contrasts in the image's units, empty places among them.

    Raises:
        ValueError: a radius that is not positive, a contrast of 0, or no room for a single disc.

    Example:
        >>> image = (torch.arange(64)[:, None] > 8).double().expand(64, 64)
        >>> lesions = place_lesions(image, radii=[3.0], contrasts=[0.1], n_each=2, n_empty=1)
        >>> len(lesions), sorted({lesion.contrast for lesion in lesions})
        (3, [0.0, 0.1])
    """
    for radius in radii:
        check_positive(radius, "radii")
    if any(contrast == 0 or not math.isfinite(contrast) for contrast in contrasts):
        raise ValueError(f"contrasts: expected finite numbers other than 0, got {contrasts}.")
    scale = float(image.max() - image.min())
    depth = _depth(body_mask(image))
    generator = seeded_generator(seed, index)
    placed: list[Lesion] = []
    for radius in sorted(radii, reverse=True):
        wanted = [contrast * scale for contrast in contrasts for _ in range(n_each)]
        wanted += [0.0] * n_empty
        for choice in torch.randperm(len(wanted), generator=generator).tolist():
            free = _free_places(depth, placed, radius, wanted[choice], generator)
            if free:
                placed.append(min(free, key=lambda one: _unevenness(image, one)))
    if not placed:
        raise ValueError(
            f"radii: expected discs that fit into the image's body, found no room for {radii}."
        )
    return placed


def with_lesions(
    image: Float[Tensor, "rows columns"], lesions: Sequence[Lesion]
) -> Float[Tensor, "rows columns"]:
    """Return the image with the discs' contrasts added."""
    changed = image.clone()
    for lesion in lesions:
        changed[lesion.disc(image)] += lesion.contrast
    return changed


def observe_lesions(
    result: Reconstruction,
    truth: Float[Tensor, "rows columns"],
    lesions: Sequence[Lesion],
    *,
    slice_index: int = 0,
    level: float = 0.95,
) -> list[Observation]:
    """Measure every disc and empty place in the reconstruction of one slice.

    Args:
        result: a single image; spread and the region's interval need its joint samples.
        truth: what was projected, with the discs.
        lesions: the discs.
        slice_index: number of the slice.
        level: of the intervals.

    Returns:
        One observation a disc, in order.
    """
    truth = truth.to(result.mean)
    if result.std is not None:
        lower, upper = result.interval(level)
        inside: Tensor | None = (truth >= lower) & (truth <= upper)
    else:
        inside = None
    observations = []
    for lesion in lesions:
        disc, ring = lesion.disc(truth), lesion.surroundings(truth)
        spread, covered, n_samples = None, None, 0
        if result.samples is not None:
            contrasts = result.samples[:, disc].mean(1) - result.samples[:, ring].mean(1)
            spread, n_samples = float(contrasts.std()), len(contrasts)
            low, high = result.region(disc).interval(level)
            covered = bool((low <= truth[disc].mean()) & (truth[disc].mean() <= high))
        observations.append(
            Observation(
                slice_index=slice_index,
                lesion=lesion,
                found=float(result.mean[disc].mean() - result.mean[ring].mean()),
                true=float(truth[disc].mean() - truth[ring].mean()),
                spread=spread,
                n_samples=n_samples,
                region_covered=covered,
                pixels_covered=None if inside is None else float(inside[disc].double().mean()),
            )
        )
    return observations


def _depth(body: Bool[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
    """Return each pixel's distance from the outside of the body, and of the image."""
    from scipy.ndimage import distance_transform_edt

    bordered = torch.nn.functional.pad(body, (1, 1, 1, 1)).cpu().numpy()
    return torch.from_numpy(distance_transform_edt(bordered))[1:-1, 1:-1]


def _free_places(
    depth: Float[Tensor, "rows columns"],
    placed: Sequence[Lesion],
    radius: float,
    contrast: float,
    generator: torch.Generator,
) -> list[Lesion]:
    """Return some random places that are deep enough in the body and overlap no other."""
    new = Lesion(row=0, column=0, radius=radius, contrast=contrast)
    deep = (depth > new.reach).nonzero()
    if len(deep) == 0:
        return []
    free: list[Lesion] = []
    for row, column in deep[torch.randint(len(deep), (_TRIES,), generator=generator)].tolist():
        apart = all(
            math.hypot(row - other.row, column - other.column) > new.reach + other.reach
            for other in placed
        )
        if apart:
            free.append(Lesion(row=row, column=column, radius=radius, contrast=contrast))
        if len(free) == _LOOKS:
            break
    return free


def _unevenness(image: Float[Tensor, "rows columns"], lesion: Lesion) -> float:
    # the disc lies inside the image, so that a square around it does too
    half = math.ceil(lesion.reach)
    rows = slice(lesion.row - half, lesion.row + half + 1)
    columns = slice(lesion.column - half, lesion.column + half + 1)
    square = image[rows, columns]
    whole = Lesion(row=half, column=half, radius=lesion.reach, contrast=0.0)
    return float(square[whole.disc(square)].std())
