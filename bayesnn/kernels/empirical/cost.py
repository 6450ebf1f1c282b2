"""What a network takes in arithmetic and memory, from one forward pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bayesnn.kernels.empirical.jacobian import Tangent

COPIES = 4  # of activations that live at once in a derivative, about
ROW_COPIES = 3  # of a block of J: as it is made, as it is kept, scaled


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Costs of one point.

    Attributes:
        outputs: k.
        parameters: how many are trained.
        flops: of a forward pass: matrix products and convolutions.
        activations: bytes of a derivative's activations.
        row: bytes of J for one output, with its copies.
    """

    outputs: int
    parameters: int
    flops: int
    activations: int
    row: int

    def contraction(self, n1: int, n2: int, recomputed: int) -> int:
        """Return FLOPs of J₁Λ⁻¹J₂ᵀ from rows of J, those of J₁ made `recomputed` times."""
        each = 2 * self.outputs**2 * self.parameters
        return n1 * n2 * each + recomputed * n1 * self.outputs * 3 * self.flops

    def products(self, n1: int, n2: int) -> int:
        """Return FLOPs of J₁·(Λ⁻¹J₂ᵀ) by forward mode, a product for each row of J₂."""
        return n1 * n2 * self.outputs * 2 * self.flops


def measure(tangent: Tangent, x: Tensor) -> Cost:
    """Return the costs of one point, which is run once.

    Args:
        tangent: the module.
        x: points; the first is used.
    """
    sizes: list[int] = []

    def note(_: nn.Module, __: object, output: object) -> None:
        if isinstance(output, Tensor):
            sizes.append(output.numel() * output.element_size())

    handles = [module.register_forward_hook(note) for module in tangent.network.modules()]
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            value = tangent.value(tangent.params, x[:1])
    finally:
        for handle in handles:
            handle.remove()
    parameters = sum(one.numel() for one in tangent.params.values())
    return Cost(
        outputs=value.shape[1],
        parameters=parameters,
        flops=counter.get_total_flops(),
        activations=max(1, COPIES * sum(sizes)),
        row=ROW_COPIES * parameters * value.element_size(),
    )
