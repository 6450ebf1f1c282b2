"""What all scores ask of their inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from bayesnn.checks import as_finite_tensor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_ANY_NDIM = range(16)


def same_shaped(**named: ArrayLike | Tensor) -> list[Tensor]:
    """Turn the inputs into finite tensors of the first one's shape, device and widest dtype.

    Only single numbers are broadcast: [n] against [n, 1] would quietly make n² comparisons. Numbers
    of Python's own do not widen float32 arrays.

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
    # a Python number has no width of its own
    wide = [
        t
        for t, value in zip(tensors, named.values(), strict=True)
        if type(value) not in {int, float}
    ]
    dtype = max((t.dtype for t in wide or tensors), key=lambda d: d.itemsize)
    for name, tensor in zip(named, tensors, strict=True):
        if tensor.ndim and tensor.shape != first.shape:
            raise ValueError(
                f"{name}: expected the shape {tuple(first.shape)} of {next(iter(named))} or a "
                f"single number, got {tuple(tensor.shape)}; reshape it."
            )
    return [t.to(first.device, dtype).expand(first.shape) for t in tensors]


def with_members(
    y: ArrayLike | Tensor, **named: ArrayLike | Tensor
) -> tuple[Float[Tensor, " *points"], list[Float[Tensor, members * points]]]:
    """Turn what was observed and members' values into finite tensors of one device and dtype.

    Args:
        y: what was observed, of any shape.
        named: members' values by the names that the user knows, [members, *y.shape]; those after
            the first may be single numbers.

    Returns:
        y, and one tensor for each of the others.

    Raises:
        ValueError: shapes that do not fit, or values that are not finite numbers.

    Example:
        >>> y, (samples,) = with_members([0.0, 1.0], samples=[[2, 3]])
        >>> samples
        tensor([[2., 3.]], dtype=torch.float64)
    """
    observed = as_finite_tensor(y, "y", ndim=_ANY_NDIM)
    tensors = same_shaped(**named)
    name, first = next(iter(named)), tensors[0]
    if first.ndim == 0 or first.shape[1:] != observed.shape:
        points = "".join(f", {length}" for length in observed.shape)
        raise ValueError(
            f"{name}: expected the shape (members{points}), y's behind the members, got "
            f"{tuple(first.shape)}; transpose it."
        )
    dtype = max(observed.dtype, first.dtype, key=lambda d: d.itemsize)
    return observed.to(dtype), [t.to(observed.device, dtype) for t in tensors]
