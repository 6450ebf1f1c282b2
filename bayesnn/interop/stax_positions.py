"""What stax lacks of layers that act on positions: zeros around images, constant attention.

Each returns a triple (init, apply, kernel). neural-tangents' kernels of points with positions P are
[n₁, n₂, P₁, P₁, P₂, P₂, …], or [n₁, n₂, P₁, P₂, …] where it follows equal positions alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np


def zeros_around(stax: Any, size: int) -> Any:
    """Return the layer that puts zeros around images [n, rows, columns, channels]."""
    jnp = importlib.import_module("jax.numpy")

    def around(values: Any, first: int, last: int) -> Any:
        widths = [(0, 0)] * first + [(size, size)] * (values.ndim - first - last) + [(0, 0)] * last
        return jnp.pad(values, widths)

    def shape(given: Any) -> Any:
        return (given[0], given[1] + 2 * size, given[2] + 2 * size, given[3])

    return _layer(
        stax,
        "ZerosAround",
        shape=shape,
        of_values=lambda x: around(x, 1, 1),
        of_covariances=lambda values, batch: around(values, batch, 0),
        diagonal=stax.Diagonal(),
    )


def constant_attention(stax: Any, weights: np.ndarray) -> Any:
    """Return the layer y = A x of sequences [n, tokens, features]."""
    jnp = importlib.import_module("jax.numpy")

    def of_values(x: Any) -> Any:
        return jnp.einsum("pt,ntc->npc", weights.astype(x.dtype), x)

    def of_covariances(values: Any, _: int) -> Any:
        own = weights.astype(values.dtype)
        return jnp.einsum("pt,...tu,qu->...pq", own, values, own)

    return _layer(
        stax,
        "ConstantAttention",
        shape=lambda given: (given[0], len(weights), given[2]),
        of_values=of_values,
        of_covariances=of_covariances,
        diagonal=stax.Diagonal(input=stax.Bool.NO, output=stax.Bool.NO),
    )


def channels_first_flatten(stax: Any) -> Any:
    """Return the layer that makes vectors of images as torch does, all of a channel together."""
    jnp = importlib.import_module("jax.numpy")
    init, flatten, kernel = stax.Flatten()

    def apply(params: Any, x: Any, **settings: Any) -> Any:
        return flatten(params, jnp.moveaxis(x, -1, 1) if x.ndim == 4 else x, **settings)

    return init, apply, kernel


def _layer(
    stax: Any,
    name: str,
    *,
    shape: Callable[[Any], Any],
    of_values: Callable[[Any], Any],
    of_covariances: Callable[[Any, int], Any],
    diagonal: Any,
) -> Any:
    """Return a layer without parameters that is linear in the positions.

    Args:
        stax: neural_tangents.stax.
        name: what it is called.
        shape: the shape of its output, of that of its input (numbers of JAX's choice).
        of_values: its output.
        of_covariances: of covariances and the number of their dimensions that are no positions.
        diagonal: whether equal positions suffice.
    """

    def init(_: Any, given: Any) -> Any:
        return shape(given), ()

    def apply(_: Any, x: Any, **__: Any) -> Any:
        return of_values(x)

    @stax.requires(batch_axis=0, channel_axis=-1, diagonal_spatial=diagonal)  # type: ignore[untyped-decorator]
    def kernel(k: Any, **_: Any) -> Any:
        def mapped(values: Any, batch: int) -> Any:
            # Θ starts as the number 0
            return values if values is None or values.ndim == 0 else of_covariances(values, batch)

        own = 1 if k.diagonal_batch else 2
        return k.replace(
            nngp=mapped(k.nngp, 2), ntk=mapped(k.ntk, 2), cov1=mapped(k.cov1, own),
            cov2=mapped(k.cov2, own),
        )  # fmt: skip

    def build() -> Any:
        return init, apply, kernel

    build.__name__ = name
    return stax.layer(build)()
