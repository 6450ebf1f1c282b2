"""Factors λ_{l,L} of the L branches of a residual network, for `resnet(scaling=…)`.

A scaling is a function of the block l = 1 … L and of their number L; write one of your own alike.
"""

from __future__ import annotations

import math


def uniform_scaling(block: int, depth: int) -> float:  # noqa: ARG001
    """Return λ = 1/√L: the variance (1 + 1/L)^L stays below e at any depth.

    Stable ResNet with uniform scaling; Hayou et al., 2021, arXiv 2010.12859.

    Args:
        block: l, from 1.
        depth: L.

    Example:
        >>> uniform_scaling(3, 100)
        0.1
    """
    return 1 / math.sqrt(depth)


def decreasing_scaling(block: int, depth: int) -> float:  # noqa: ARG001
    """Return λ_l = 1/(√l log(l + 1)), whose squares have a finite sum, so that depth may grow.

    Stable ResNet with decreasing scaling; Hayou et al., 2021, arXiv 2010.12859.

    Args:
        block: l, from 1.
        depth: L, which does not matter.

    Example:
        >>> round(decreasing_scaling(1, 100), 4)
        1.4427
    """
    return 1 / (math.sqrt(block) * math.log(block + 1))


def standard_scaling(block: int, depth: int) -> float:  # noqa: ARG001
    """Return λ = 1: with ReLU and σ_w² = 2 the variance is 2^L and correlations go to 1.

    Args:
        block: l, from 1.
        depth: L, which does not matter.

    Example:
        >>> standard_scaling(3, 100)
        1.0
    """
    return 1.0
