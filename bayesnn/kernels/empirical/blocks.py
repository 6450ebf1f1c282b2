"""The empirical NTK block by block, within a memory budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.kernels.empirical.cost import Cost, measure
from bayesnn.kernels.empirical.jacobian import Params, Tangent, agrees, pushes, stacked


@dataclass(frozen=True, kw_only=True)
class TangentBlocks:
    """A network at its parameters, and Λ, with what its derivatives take.

    Attributes:
        tangent: the network.
        precision: Λ, by name.
        sample: one or two points, on which transforms are tried.
        budget: bytes of rows of J and of activations at a time.
    """

    tangent: Tangent
    precision: Params
    sample: Tensor
    budget: int

    @cached_property
    def cost(self) -> Cost:
        """What one point takes."""
        return measure(self.tangent, self.sample)

    @cached_property
    def vectorised(self) -> bool:
        """Whether torch.func.vmap takes the network."""
        tangent, x = self.tangent, self.sample
        return agrees(lambda: tangent.rows(x), lambda: tangent.rows_by_autograd(x))

    @cached_property
    def has_forward_mode(self) -> bool:
        """Whether the network has derivatives in forward mode, of several directions at once."""
        tangent, x, two = self.tangent, self.sample, stacked([self.tangent.params] * 2)

        def sure() -> Tensor:
            one = tangent.push_by_autograd(x, tangent.params)
            return torch.stack((one, one))

        return agrees(lambda: pushes(tangent, x, two), sure)

    @property
    def points_of_rows(self) -> int:
        """How many points' rows of J fit twice."""
        cost = self.cost
        each = 2 * cost.outputs * cost.row + (1 + cost.outputs) * cost.activations
        return max(1, self.budget // each)

    def rows(self, x: Tensor) -> Params:
        """Return J at some points, [n, k, *shape] by parameter."""
        if self.vectorised:
            return self.tangent.rows(x)
        return self.tangent.rows_by_autograd(x)

    def takes_forward_mode(self, n1: int, n2: int) -> bool:
        """Return whether forward mode takes less arithmetic than rows of J on both sides."""
        recomputed = -(-n2 // self.points_of_rows)
        less = self.cost.products(n1, n2) < self.cost.contraction(n1, n2, recomputed)
        return less and self.has_forward_mode

    def by_rows(self, x1: Tensor, x2: Tensor) -> Float[Tensor, "n1 n2 k k"]:
        """Return J₁Λ⁻¹J₂ᵀ, contracting rows; where x2 is x1, from blocks above the diagonal."""
        total = self._empty(x1, x2)
        for a in slices(len(x1), self.points_of_rows):
            mine = self._preconditioned(self.rows(x1[a]))
            for b in slices(len(x2), self.points_of_rows):
                if x2 is x1 and b.start < a.start:
                    continue
                its = self.rows(x2[b])
                block = contracted(mine, its)
                total[a, b] = block
                if x2 is x1 and b.start > a.start:
                    total[b, a] = block.permute(1, 0, 3, 2)
        return total

    def by_forward_mode(self, x1: Tensor, x2: Tensor) -> Float[Tensor, "n1 n2 k k"]:
        """Return J₁·(Λ⁻¹J₂ᵀ), each row of J₂ as a direction at all points of x1."""
        total = self._empty(x1, x2)
        cost, k = self.cost, self.cost.outputs
        half = self.budget // 2
        size = max(1, half // (k * (cost.row + cost.activations)))
        for b in slices(len(x2), size):
            rows = self._preconditioned(self.rows(x2[b]))
            directions = {name: row.flatten(0, 1) for name, row in rows.items()}
            width = k * (b.stop - b.start)
            for a in slices(len(x1), max(1, half // (width * cost.activations))):
                values = pushes(self.tangent, x1[a], directions)
                total[a, b] = values.view(-1, k, *values.shape[1:]).permute(2, 0, 3, 1)
        return total

    def diagonal(self, x: Tensor) -> Float[Tensor, "n k k"]:
        """Return JΛ⁻¹Jᵀ of each point."""
        found = []
        for some in slices(len(x), self.points_of_rows):
            rows = self.rows(x[some])
            parts = [
                torch.einsum("akp,alp->akl", mine.flatten(2), rows[name].flatten(2))
                for name, mine in self._preconditioned(rows).items()
            ]
            found.append(torch.stack(parts).sum(0))
        return torch.cat(found)

    def _preconditioned(self, rows: Params) -> Params:
        return {name: row / self.precision[name] for name, row in rows.items()}

    def _empty(self, x1: Tensor, x2: Tensor) -> Tensor:
        like, k = next(iter(self.precision.values())), self.cost.outputs
        return like.new_empty(len(x1), len(x2), k, k)


def contracted(mine: Params, its: Params) -> Float[Tensor, "a b k k"]:
    """Return Σ_p mine[a, k, p]·its[b, l, p] over all parameters p."""
    first = next(iter(mine.values()))
    (a, k), b = first.shape[:2], len(next(iter(its.values())))
    total = first.new_zeros(a * k, b * k)
    for name, rows in mine.items():
        total.addmm_(rows.reshape(a * k, -1), its[name].reshape(b * k, -1).mT)
    return total.view(a, k, b, k).permute(0, 2, 1, 3)


def slices(n: int, size: int) -> Iterator[slice]:
    """Yield slices of n points, `size` of them at most."""
    for first in range(0, n, size):
        yield slice(first, min(first + size, n))
