"""The least that a step of the published network can cost: operations and bytes."""

from __future__ import annotations

from dataclasses import dataclass

FEATURES = 726
HALF = 2  # bytes of a bfloat16


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """Operations and bytes of one step.

    Attributes:
        operations: of the products of matrices, forward and backward.
        layer_bytes: what products and activations read and write if each layer's values pass
            through memory once a pass: the features and each layer's values written and read
            forward, read again for the weights' gradient and the derivative, their gradients
            written once and read twice.
        ours_bytes: what our kernels and products read and write: values before and after the
            activation are both kept.
    """

    operations: float
    layer_bytes: float
    ours_bytes: float


def step_cost(n_pixels: int, *, width: int = 280, depth: int = 6) -> StepCost:
    """Count one step: no gradient goes into the features."""
    first, inner, last = FEATURES * width, (depth - 1) * width**2, width
    layer, features = n_pixels * width * HALF, n_pixels * FEATURES * HALF
    return StepCost(
        operations=2 * n_pixels * (2 * first + 3 * inner + 3 * last),
        layer_bytes=2 * features + (2 + 2 + 3) * depth * layer,
        # forward: product reads and writes, activation reads and writes, read-out reads;
        # backward: read-out's product, g W reads and writes, activation reads twice and writes,
        # weights' sums read twice
        ours_bytes=(features + layer) + (depth - 1) * 2 * layer + depth * 2 * layer + layer
        + (layer + layer) + (depth - 1) * 2 * layer + depth * 3 * layer
        + (depth - 1) * 2 * layer + (features + layer),
    )  # fmt: skip
