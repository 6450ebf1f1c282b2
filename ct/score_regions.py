"""Where a slice is scored apart: inside the body, and near edges. The truth says where that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

EDGE_THRESHOLD = 0.05
"""Share of the truth's range by which values change over a pixel, at an edge."""
EDGE_DISTANCE = 3.0
"""Pixels to the nearest such pixel, at most."""
_SMALLEST_PART = 0.1  # of the largest part's area: a table's struts are no second leg


def score_regions(truth: Float[Tensor, "rows columns"]) -> dict[str, Bool[Tensor, "rows columns"]]:
    """Return the regions that scores are given for, by name, everything first.

    Args:
        truth: the image.

    Returns:
        Masks "all", "body" and "edges"; regions without a pixel are left out.
    """
    found = {
        "all": torch.ones_like(truth, dtype=torch.bool),
        "body": body_mask(truth),
        "edges": edge_mask(truth),
    }
    return {name: mask for name, mask in found.items() if bool(mask.any())}


def body_mask(truth: Float[Tensor, "rows columns"]) -> Bool[Tensor, "rows columns"]:
    """Return the object: what lies above Otsu's threshold, and all that it encloses.

    Of the connected parts, those of at least a tenth of the largest one's area are kept, so a
    scanner's table and noise in the air are no body; lungs and other holes are filled.

    Args:
        truth: the image, brighter inside.

    Returns:
        True inside; nowhere in an image of one value.

    Source:
        N. Otsu, A threshold selection method from gray-level histograms, IEEE Transactions on
        Systems, Man, and Cybernetics 9(1), 1979.

    Example:
        >>> image = torch.zeros(9, 9)
        >>> image[2:7, 2:7] = 1
        >>> image[4, 4] = 0
        >>> int(body_mask(image).sum())
        25
    """
    from scipy.ndimage import binary_fill_holes, label
    from skimage.filters import threshold_otsu

    values = truth.detach().double().cpu().numpy()
    if not values.max() > values.min():
        return torch.zeros_like(truth, dtype=torch.bool)
    find: Callable[[Any], float] = threshold_otsu
    parts, _ = label(values > find(values))
    areas = np.bincount(parts.ravel())
    areas[0] = 0  # the background
    large = areas >= _SMALLEST_PART * areas.max()
    filled = binary_fill_holes(large[parts] & (parts > 0))
    return torch.from_numpy(np.asarray(filled)).to(truth.device)


def edge_mask(
    truth: Float[Tensor, "rows columns"],
    *,
    threshold: float = EDGE_THRESHOLD,
    distance: float = EDGE_DISTANCE,
) -> Bool[Tensor, "rows columns"]:
    """Return the pixels near an edge.

    Edges are the pixels whose gradient (central differences) is longer than `threshold` times the
    truth's range a pixel.

    Args:
        truth: the image.
        threshold: as a share of the truth's range.
        distance: how far from an edge, in pixels, between centres.

    Returns:
        True at the edges and within `distance` of one.

    Example:
        >>> image = torch.zeros(1, 12)
        >>> image[:, 6:] = 1
        >>> edge_mask(image.expand(2, 12), distance=1)[0].nonzero().flatten().tolist()
        [4, 5, 6, 7]
    """
    from scipy.ndimage import distance_transform_edt

    values = truth.detach().double().cpu().numpy()
    down, right = np.gradient(values)
    edges = np.hypot(down, right) > threshold * (values.max() - values.min())
    if not edges.any():
        return torch.zeros_like(truth, dtype=torch.bool)
    near = np.asarray(distance_transform_edt(~edges)) <= distance
    return torch.from_numpy(near).to(truth.device)
