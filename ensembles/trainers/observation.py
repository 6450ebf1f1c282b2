"""Data that are linear functions of the network's values at all inputs together, such as sums."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Observation(Protocol):
    """A linear map H from values at n inputs [..., n, k] to what is measured [..., r, t]."""

    def __call__(self, values: Tensor) -> Tensor:
        """Return H·v, over any leading dimensions."""
        ...

    def transpose(self, cotangent: Tensor) -> Tensor:
        """Return Hᵀ·u, over any leading dimensions."""
        ...


class Pointwise:
    """H = I: each datum is the value at one input."""

    def __call__(self, values: Tensor) -> Tensor:
        """Return the values."""
        return values

    def transpose(self, cotangent: Tensor) -> Tensor:
        """Return the cotangent."""
        return cotangent


def observed_kernel(observation: Observation, kernel: Tensor, n_outputs: int) -> Tensor:
    """Return H K Hᵀ [m, tr, tr] of symmetric K [m, kn, kn]; points and rows run fastest."""
    if isinstance(observation, Pointwise):
        return kernel

    def columns_observed(matrix: Tensor) -> Tensor:
        values = matrix.view(*matrix.shape[:2], n_outputs, -1).mT
        return observation(values).mT.flatten(2)

    return columns_observed(columns_observed(kernel).mT.contiguous())
