"""How much memory one member takes in training: what of it can be counted, and what is measured."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bayesnn.networks import prior_precision
from bayesnn.seeds import seeded_generator
from ensembles.memory import peak_memory
from ensembles.methods.protocol import Method, Params

PROBE_POINTS = 8


@dataclass(frozen=True, kw_only=True)
class MemberSize:
    """What one member in training is made of.

    Attributes:
        n_params: numbers in θ.
        n_points: data.
        n_outputs: numbers of one target.
        itemsize: bytes of a number.
        bytes_per_point: of activations, and of their gradients on the way back, at the peak.
    """

    n_params: int
    n_points: int
    n_outputs: int
    itemsize: int
    bytes_per_point: int


def member_size(network: nn.Module, method: Method, x: Tensor, n_outputs: int) -> MemberSize:
    """Return the size of one member, its activations measured on a few points.

    Args:
        network: with its prior, on x's device and of x's dtype.
        method: how parameters give the trained part.
        x: all inputs.
        n_outputs: numbers of one target.

    Returns:
        The size.
    """
    return MemberSize(
        n_params=sum(value.numel() for value in prior_precision(network).values()),
        n_points=x.shape[0],
        n_outputs=n_outputs,
        itemsize=x.element_size(),
        bytes_per_point=_bytes_per_point(network, method, x),
    )


def _bytes_per_point(network: nn.Module, method: Method, x: Tensor) -> int:
    """Return what a forward and a backward pass hold more for each point more."""
    draw = method.draw(network, generator=seeded_generator(0))
    params = {name: value.to(x).requires_grad_() for name, value in draw.start.items()}
    shift: dict[str, Params] = {
        kind: {name: value.to(x) for name, value in held.items()}
        for kind, held in draw.shift.items()
    }

    def peak(n_points: int) -> int:
        points = x[:n_points].clone().requires_grad_()

        def passes() -> None:
            with torch.enable_grad():
                total = method.value(network, params, shift, points).sum()
                # gradients of the parameters, alike for any number of points, are left out
                torch.autograd.grad(total, points, allow_unused=True)

        return peak_memory(passes)

    most = min(PROBE_POINTS, len(x))
    fewest = most // 2
    if fewest == 0:
        return max(1, peak(1))
    return max(1, -(-(peak(most) - peak(fewest)) // (most - fewest)))
