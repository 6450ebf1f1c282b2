"""What vector scaling minimises, in the directions that change probabilities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from bayesnn.calibration.chunks import row_chunks
from bayesnn.calibration.newton import Derivatives, newton_minimum

_SAME = 1e-12
"""Share of the largest curvature below which a direction changes no probability."""
_HELD = 6
"""float64 numbers at once for each logit of a chunk."""


@dataclass(frozen=True, kw_only=True)
class VectorScalingCost:
    """The mean of −log softmax(w ∘ z + b)[y] + ½ λ(‖w − 1‖² + ‖b‖²) in φ = (w·unit, b).

    Attributes:
        logits: z.
        labels: y.
        unit: of each column's factor, so that curvatures are about 1.
        penalty: λ.
        memory_budget: bytes that intermediate values of points may take.
    """

    logits: Float[Tensor, "n classes"]
    labels: Tensor
    unit: Float64[Tensor, " classes"]
    penalty: float
    memory_budget: int

    @classmethod
    def of(
        cls, logits: Tensor, labels: Tensor, penalty: float, memory_budget: int
    ) -> VectorScalingCost:
        """Return the cost of these points, each column in units of its root mean square.

        Args:
            logits: z, [n, classes].
            labels: of the true classes, [n].
            penalty: λ.
            memory_budget: bytes that intermediate values of points may take.

        Returns:
            The cost.
        """
        plain = cls(
            logits=logits, labels=labels, unit=logits.new_ones(logits.shape[1]).double(),
            penalty=penalty, memory_budget=memory_budget,
        )  # fmt: skip
        (square,) = plain._mean(lambda z, _: (z.square().sum(0),))
        return replace(plain, unit=torch.where(square > 0, square, 1.0).sqrt())

    def minimum(self, start: Float64[Tensor, " p"]) -> Float64[Tensor, " p"]:
        """Return φ where the cost is least, from a start.

        Raises:
            NoMinimumError: the cost falls for ever.
        """
        # scaled by the curvatures where all classes are as likely
        even = 1 / len(self.unit)
        (hessian,) = self._mean(lambda z, _: (_hessian(z, torch.full_like(z, even)),))
        curvatures, directions = torch.linalg.eigh(hessian)
        kept = curvatures > _SAME * curvatures[-1]
        roots = curvatures[kept].sqrt()
        # steps of length 1 along a column change logits by about 1
        basis = directions[:, kept] / roots
        origin = torch.zeros_like(start)
        origin[: len(start) // 2] = self.unit
        at_start = roots * (directions[:, kept].mT @ (start - origin))
        away: Tensor = basis @ newton_minimum(self._derivatives(basis, origin), at_start)
        return origin + away

    def _mean(self, sums: Callable[[Tensor, Tensor], tuple[Tensor, ...]]) -> list[Tensor]:
        # over the points, of what `sums` adds up for logits/unit and the classes of some of them
        parts = row_chunks(
            self.logits, self.labels, numbers_per_row=_HELD * len(self.unit),
            memory_budget=self.memory_budget,
        )  # fmt: skip
        total: list[Tensor] = []
        for logits, labels in parts:
            some = sums(logits.double() / self.unit, labels)
            total = [a + b for a, b in zip(total, some, strict=True)] if total else list(some)
        return [one / len(self.logits) for one in total]

    def _derivatives(self, basis: Tensor, origin: Tensor) -> Callable[[Tensor], Derivatives]:
        half = len(origin) // 2
        weight = torch.full_like(origin, self.penalty)
        weight[:half] /= self.unit**2

        def at(place: Tensor) -> Derivatives:
            away = basis @ place
            loss, gradient, hessian = self._mean(_terms(*(origin + away).chunk(2)))
            value = loss + 0.5 * (weight * away.square()).sum()
            gradient = gradient + weight * away
            hessian = hessian + weight.diag()
            return float(value), basis.mT @ gradient, basis.mT @ hessian @ basis

        return at


def _terms(
    factor: Tensor, offset: Tensor
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
    # loss, gradient and Hessian of the points together
    def at(z: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        p = torch.addcmul(offset, factor, z).log_softmax(-1)
        truth = labels[:, None]
        loss = -p.gather(1, truth).sum()
        p = p.exp_()
        hessian = _hessian(z, p)
        wrong = p.scatter_add_(1, truth, p.new_tensor(-1.0).expand(truth.shape))
        return loss, torch.cat([torch.einsum("nc,nc->c", wrong, z), wrong.sum(0)]), hessian

    return at


def _hessian(z: Tensor, p: Tensor) -> Tensor:
    # the sum of Fᵀ(diag p − ppᵀ)F, where F φ = w ∘ z + b
    features = torch.cat([p * z, p], dim=1)
    within = features[:, : z.shape[1]].sum(0).diag()
    diagonal = torch.cat([
        torch.cat([torch.einsum("nc,nc->c", features[:, : z.shape[1]], z).diag(), within], dim=1),
        torch.cat([within, p.sum(0).diag()], dim=1),
    ])
    return diagonal - features.mT @ features
