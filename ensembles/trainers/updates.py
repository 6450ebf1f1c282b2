"""Update rules: what a step does to the parameters, given the gradient of the data's loss.

All rules train θ in units of its prior, w = Λ^½ θ, because a step should not know the
parametrisation. No whitened copy is made: a step of w is one of θ with the rate and, in Adam, ε
rescaled. The regulariser's gradient pull/n·Λ(θ − c) is added without autograd.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.optim.adam import adam as torch_adam
from torch.optim.sgd import sgd as torch_sgd

from ensembles.trainers.leaf import Leaf

VECTOR = 8  # numbers of float64, at most, that a CPU changes at once
PIECE = 2**20  # numbers of a tensor that the pull and the step after it find in a CPU's cache


@runtime_checkable
class Rule(Protocol):
    """How parameters follow gradients; a frozen dataclass of settings."""

    @property
    def n_slots(self) -> int:
        """Tensors that are kept for each parameter, zero at the start."""
        ...

    def rates(self, step: int, rate: float) -> tuple[float, ...]:
        """Return the numbers that change from step to step (from 1), given the learning rate."""
        ...

    def update(self, leaves: Sequence[Leaf], gradients: Sequence[Tensor], rates: Tensor) -> None:
        """Change leaves and slots in place; the gradients are in memory order, and are spent."""
        ...


@dataclass(frozen=True, kw_only=True)
class AdamRule:
    """m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², w ← w − rate·m̂/(√v̂ + ε), with m̂, v̂ unbiased.

    Source: Kingma and Ba, 2015, arXiv 1412.6980.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    @property
    def n_slots(self) -> int:
        """Two: the moments m and v."""
        return 2

    def rates(self, step: int, rate: float) -> tuple[float, ...]:
        """Return the rate, 1 − β₁ᵗ, √(1 − β₂ᵗ) and t."""
        return rate, 1 - self.beta1**step, (1 - self.beta2**step) ** 0.5, float(step)

    def update(self, leaves: Sequence[Leaf], gradients: Sequence[Tensor], rates: Tensor) -> None:
        """Take a step with the fastest form there is for the device."""
        kernels = _kernels(leaves)
        if kernels is not None:
            for leaf, gradient in zip(leaves, gradients, strict=True):
                kernels.adam(self, leaf, gradient, rates)
        elif rates.device.type == "cpu":
            self._fused(*_filling_vectors(leaves, gradients), rates)
            for leaf, gradient in _not_filling(leaves, gradients):
                adam_reference(self, leaf, gradient, rates)
        else:
            for leaf, gradient in zip(leaves, gradients, strict=True):
                adam_reference(self, leaf, gradient, rates)

    def _fused(self, leaves: Sequence[Leaf], gradients: Sequence[Tensor], rates: Tensor) -> None:
        for scale, decay, group in _alike(leaves, gradients):
            chosen = [leaf for leaf, _ in group]
            torch_adam(
                [leaf.dense for leaf in chosen],
                [_towards_center(leaf, gradient) for leaf, gradient in group],
                [leaf.slots[0] for leaf in chosen],
                [leaf.slots[1] for leaf in chosen],
                [],
                # the count before the step, which torch raises
                [rates[3].float() - 1 for _ in chosen],
                fused=True, lr=float(rates[0]) * scale, beta1=self.beta1, beta2=self.beta2,
                eps=self.eps / scale, weight_decay=decay, amsgrad=False, maximize=False,
            )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SGDRule:
    """b ← μb + g, w ← w − rate·b, or with Nesterov's look-ahead w ← w − rate·(g + μb)."""

    momentum: float
    nesterov: bool

    @property
    def n_slots(self) -> int:
        """One for the momentum b, if there is any."""
        return 1 if self.momentum else 0

    def rates(self, step: int, rate: float) -> tuple[float, ...]:  # noqa: ARG002
        """Return the rate."""
        return (rate,)

    def update(self, leaves: Sequence[Leaf], gradients: Sequence[Tensor], rates: Tensor) -> None:
        """Take a step with the fastest form there is for the device."""
        kernels = _kernels(leaves)
        if kernels is not None:
            for leaf, gradient in zip(leaves, gradients, strict=True):
                kernels.sgd(self, leaf, gradient, rates)
        elif rates.device.type == "cpu":
            self._fused(*_filling_vectors(leaves, gradients), rates)
            for leaf, gradient in _not_filling(leaves, gradients):
                sgd_reference(self, leaf, gradient, rates)
        else:
            for leaf, gradient in zip(leaves, gradients, strict=True):
                sgd_reference(self, leaf, gradient, rates)

    def _fused(self, leaves: Sequence[Leaf], gradients: Sequence[Tensor], rates: Tensor) -> None:
        for scale, decay, group in _alike(leaves, gradients):
            chosen = [leaf for leaf, _ in group]
            torch_sgd(
                [leaf.dense for leaf in chosen],
                [_towards_center(leaf, gradient) for leaf, gradient in group],
                [leaf.slots[0] if self.momentum else None for leaf in chosen],
                fused=True, lr=float(rates[0]) * scale**2, momentum=self.momentum,
                nesterov=self.nesterov, weight_decay=decay, dampening=0.0, maximize=False,
            )  # fmt: skip


def adam_reference(rule: AdamRule, leaf: Leaf, gradient: Tensor, rates: Tensor) -> None:
    """Do what `AdamRule` says, line by line; the other forms must agree with it.

    Each operation is of one kind, so that every number is rounded alike wherever it stands.
    """
    rate, unbias_mean, unbias_root, _ = rates
    mean, square = leaf.slots
    total = _with_pull(leaf, gradient)
    mean.mul_(rule.beta1).add_(total * (1 - rule.beta1))
    square.mul_(rule.beta2).add_(total * total * (1 - rule.beta2))
    root = square.sqrt() / unbias_root + rule.eps / leaf.scale
    leaf.dense.sub_(mean / root * (rate * leaf.scale / unbias_mean))


def sgd_reference(rule: SGDRule, leaf: Leaf, gradient: Tensor, rates: Tensor) -> None:
    """Do what `SGDRule` says, line by line; the other forms must agree with it."""
    total = _with_pull(leaf, gradient)
    if rule.momentum:
        (moving,) = leaf.slots
        moving.mul_(rule.momentum).add_(total)
        total = total + rule.momentum * moving if rule.nesterov else moving
    leaf.dense.sub_(total * (rates[0] * leaf.scale**2))


def _filling_vectors(
    leaves: Sequence[Leaf], gradients: Sequence[Tensor]
) -> tuple[list[Leaf], list[Tensor]]:
    """Return the leaves that torch's fused updates treat alike wherever a member stands.

    What is left of a vector is rounded otherwise than in one. In float64 it must not depend on the
    number of members whose numbers these are: fits by any number of workers are to agree.
    """
    pairs = list(zip(leaves, gradients, strict=True))
    chosen = [pair for pair in pairs if _fills_vectors(pair[0])]
    return [leaf for leaf, _ in chosen], [gradient for _, gradient in chosen]


def _not_filling(leaves: Sequence[Leaf], gradients: Sequence[Tensor]) -> list[tuple[Leaf, Tensor]]:
    pairs = zip(leaves, gradients, strict=True)
    return [pair for pair in pairs if not _fills_vectors(pair[0])]


def _fills_vectors(leaf: Leaf) -> bool:
    return leaf.dense.dtype != torch.float64 or leaf.dense[0].numel() % VECTOR == 0


def _with_pull(leaf: Leaf, gradient: Tensor) -> Tensor:
    if leaf.center is None:
        return gradient
    return gradient + leaf.decay * (leaf.dense - leaf.center)


def _towards_center(leaf: Leaf, gradient: Tensor) -> Tensor:
    """Return g − decay·c; torch's weight decay adds the rest of the pull in its own pass."""
    if leaf.center is None:
        return gradient
    return gradient.sub_(leaf.center, alpha=leaf.decay)


def _alike(
    leaves: Sequence[Leaf], gradients: Sequence[Tensor]
) -> Iterator[tuple[float, float, list[tuple[Leaf, Tensor]]]]:
    """Give leaves that share scale and decay; large ones with a pull in pieces.

    Yields:
        Scale, decay, and the leaves with their gradients.
    """
    groups: dict[tuple[float, float], list[tuple[Leaf, Tensor]]] = defaultdict(list)
    for leaf, gradient in zip(leaves, gradients, strict=True):
        if leaf.center is None or leaf.dense.numel() <= PIECE:
            groups[leaf.scale, leaf.decay].append((leaf, gradient))
            continue
        pieces = zip(leaf.pieces(PIECE), torch.split(gradient.view(-1), PIECE), strict=True)
        yield from ((leaf.scale, leaf.decay, [piece]) for piece in pieces)
    for (scale, decay), group in groups.items():
        yield scale, decay, group


def _kernels(leaves: Sequence[Leaf]) -> ModuleType | None:
    """Return the Triton kernels where they serve: float32 on a CUDA device that has Triton."""
    if not all(leaf.dense.is_cuda and leaf.dense.dtype == torch.float32 for leaf in leaves):
        return None
    try:
        from ensembles.trainers import update_kernels
    except ImportError:
        return None
    return update_kernels
