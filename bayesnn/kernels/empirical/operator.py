"""The empirical NTK as a linear map, of which nothing is formed."""

from __future__ import annotations

import torch
from torch import Tensor

from bayesnn.kernels.empirical.blocks import TangentBlocks, slices


class TangentOperator:
    """v -> J₁Λ⁻¹J₂ᵀv by one backward and one forward pass; build it with `EmpiricalNTK.operator`.

    Args:
        blocks: the network.
        x1: points of the result, [n1, ...].
        x2: points of v, [n2, ...].
    """

    def __init__(self, blocks: TangentBlocks, x1: Tensor, x2: Tensor) -> None:
        self._blocks, self._x1, self._x2 = blocks, x1, x2

    @property
    def domain_shape(self) -> tuple[int, ...]:
        """Shape of v: (n2,), or (n2, k) for k outputs."""
        return self._shape(self._x2)

    @property
    def range_shape(self) -> tuple[int, ...]:
        """Shape of the result: (n1,), or (n1, k) for k outputs."""
        return self._shape(self._x1)

    @property
    def T(self) -> TangentOperator:  # noqa: N802
        """The transposed map."""
        return TangentOperator(self._blocks, self._x2, self._x1)

    def matvec(self, v: Tensor) -> Tensor:
        """Return Θ̂(x1, x2)·v, points in chunks that fit the budget.

        Args:
            v: of shape `domain_shape`.

        Returns:
            Of shape `range_shape`.

        Raises:
            ValueError: v of another shape.
        """
        if tuple(v.shape) != self.domain_shape:
            raise ValueError(f"v: expected shape {self.domain_shape}, got {tuple(v.shape)}.")
        blocks, tangent = self._blocks, self._blocks.tangent
        like = next(iter(blocks.precision.values()))
        cotangent = v.detach().to(like).reshape(len(v), -1)
        total = {name: torch.zeros_like(value) for name, value in blocks.precision.items()}
        size = max(1, blocks.budget // blocks.cost.activations)
        for some in slices(len(self._x2), size):
            for name, pulled in tangent.pull(self._x2[some], cotangent[some]).items():
                total[name] += pulled / blocks.precision[name]
        push = tangent.push if blocks.has_forward_mode else tangent.push_by_autograd
        parts = [push(self._x1[some], total) for some in slices(len(self._x1), size)]
        return torch.cat(parts).reshape(self.range_shape)

    def __call__(self, v: Tensor) -> Tensor:
        """Return `matvec(v)`."""
        return self.matvec(v)

    def _shape(self, x: Tensor) -> tuple[int, ...]:
        k = self._blocks.cost.outputs
        return (len(x),) if k == 1 else (len(x), k)
