"""How well uncertainty tells points of another distribution from those of the usual one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.checks import as_finite_tensor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def ood_auroc(inside: ArrayLike | Tensor, outside: ArrayLike | Tensor) -> Tensor:
    """Probability that a point from outside is more uncertain than one from inside.

    P(s_out > s_in) + ½ P(s_out = s_in) over all pairs, the area under the receiver operating
    characteristic: 1 is perfect, ½ is chance, whatever the numbers of points.

    Args:
        inside: uncertainty of points in distribution, such as `mutual_information`, [n_in].
        outside: uncertainty of points out of distribution, [n_out].

    Returns:
        The area in [0, 1], a tensor without dimensions.

    Raises:
        ValueError: other shapes, or values that are not finite.

    Example:
        >>> float(ood_auroc([0.0, 1.0], [1.0, 2.0]))
        0.875
    """
    usual, odd = _scores(inside, outside)
    ordered = usual.sort().values
    below = torch.searchsorted(ordered, odd).sum()
    at_most = torch.searchsorted(ordered, odd, right=True).sum()
    return ((below + at_most).double() / (2 * len(usual) * len(odd))).to(usual)


def ood_aupr_out(inside: ArrayLike | Tensor, outside: ArrayLike | Tensor) -> Tensor:
    """Average precision with which the most uncertain points are from outside.

    Σ_t (R_t − R_{t−1})·P_t over thresholds t from the most uncertain down, without interpolation;
    equal scores pass a threshold together. Chance gives n_out/(n_in + n_out): the figure depends on
    how many points there are of each kind.

    Args:
        inside: uncertainty of points in distribution, [n_in].
        outside: uncertainty of points out of distribution, [n_out].

    Returns:
        The average precision in [0, 1], a tensor without dimensions.

    Raises:
        ValueError: other shapes, or values that are not finite.

    Example:
        >>> float(ood_aupr_out([0.0, 1.0], [2.0, 3.0]))
        1.0
    """
    usual, odd = _scores(inside, outside)
    return _average_precision(-odd, -usual).to(usual)


def ood_aupr_in(inside: ArrayLike | Tensor, outside: ArrayLike | Tensor) -> Tensor:
    """Average precision with which the least uncertain points are from inside.

    As `ood_aupr_out`, with the points in distribution as those to be found, from the least
    uncertain up. Chance gives n_in/(n_in + n_out).

    Args:
        inside: uncertainty of points in distribution, [n_in].
        outside: uncertainty of points out of distribution, [n_out].

    Returns:
        The average precision in [0, 1], a tensor without dimensions.

    Raises:
        ValueError: other shapes, or values that are not finite.

    Example:
        >>> float(ood_aupr_in([0.0, 1.0], [2.0, 3.0]))
        1.0
    """
    usual, odd = _scores(inside, outside)
    return _average_precision(usual, odd).to(usual)


def ood_fpr_at_tpr(
    inside: ArrayLike | Tensor, outside: ArrayLike | Tensor, *, tpr: float = 0.95
) -> Tensor:
    """Share of the points from inside that are flagged when 95 % of those from outside are.

    The threshold is the largest score that at least `tpr` of the points from outside reach; points
    that reach it are flagged, ties included: 0 is perfect. Some papers turn the question round, and
    count the points from outside that pass when 95 % from inside do: that is
    `ood_fpr_at_tpr(-outside, -inside)`.

    Args:
        inside: uncertainty of points in distribution, [n_in].
        outside: uncertainty of points out of distribution, [n_out].
        tpr: share of the points from outside that must be flagged, in (0, 1].

    Returns:
        The share in [0, 1], a tensor without dimensions.

    Raises:
        ValueError: other shapes, values that are not finite, or a share outside (0, 1].

    Source:
        Hendrycks, Mazeika, Dietterich, ICLR 2019, arXiv 1812.04606, section 4.2.

    Example:
        >>> float(ood_fpr_at_tpr([0.0, 1.0], [1.0, 2.0]))
        0.5
    """
    if not 0 < tpr <= 1:
        raise ValueError(f"tpr: expected a share in (0, 1], got {tpr!r}.")
    usual, odd = _scores(inside, outside)
    n_flagged = math.ceil(tpr * len(odd) - 1e-9)  # 0.95 · 20 is 19, whatever its last bit
    threshold = odd.sort(descending=True).values[n_flagged - 1]
    return (usual >= threshold).to(usual.dtype).mean()


def _scores(
    inside: ArrayLike | Tensor, outside: ArrayLike | Tensor
) -> tuple[Float[Tensor, " n_in"], Float[Tensor, " n_out"]]:
    usual = as_finite_tensor(inside, "inside", ndim=(1,))
    odd = as_finite_tensor(outside, "outside", ndim=(1,))
    dtype = max(usual.dtype, odd.dtype, key=lambda d: d.itemsize)
    return usual.to(dtype).contiguous(), odd.to(usual.device, dtype).contiguous()


def _average_precision(
    wanted: Float[Tensor, " n"], unwanted: Float[Tensor, " m"]
) -> Float[Tensor, ""]:
    """Return the average precision of finding the wanted, lowest scores first."""
    thresholds, found = torch.unique_consecutive(wanted.sort().values, return_counts=True)
    among = torch.searchsorted(unwanted.sort().values, thresholds, right=True)
    right = found.cumsum(0)
    precision = right.double() / (right + among)
    return torch.dot(found.double(), precision) / len(wanted)
