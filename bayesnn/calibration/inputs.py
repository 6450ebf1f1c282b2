"""What all scores ask of their inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from bayesnn.checks import as_finite_tensor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_ANY_NDIM = range(16)


def same_shaped(**named: ArrayLike | Tensor) -> list[Tensor]:
    """Turn the inputs into finite tensors of the first one's shape, device and widest dtype.

    Only single numbers are broadcast: [n] against [n, 1] would quietly make n² comparisons.

    Args:
        named: inputs by the names that the user knows; the first sets shape and device.

    Returns:
        One tensor for each input, in order.

    Raises:
        ValueError: shapes that differ, or values that are not finite numbers.

    Example:
        >>> [t.tolist() for t in same_shaped(mean=[1.0, 2.0], variance=3)]
        [[1.0, 2.0], [3.0, 3.0]]
    """
    tensors = [as_finite_tensor(value, name, ndim=_ANY_NDIM) for name, value in named.items()]
    first = tensors[0]
    dtype = max((t.dtype for t in tensors), key=lambda d: d.itemsize)
    for name, tensor in zip(named, tensors, strict=True):
        if tensor.ndim and tensor.shape != first.shape:
            raise ValueError(
                f"{name}: expected the shape {tuple(first.shape)} of {next(iter(named))} or a "
                f"single number, got {tuple(tensor.shape)}; reshape it."
            )
    return [t.to(first.device, dtype).expand(first.shape) for t in tensors]
