"""The projector as a linear map A(x) with its exact adjoint A.T(y) and gradients of every order."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ct.geometry import ImageGrid, Scan, check_fits
from ct.projectors.by_device import WeightsByDevice

BatchMap: TypeAlias = Callable[[Tensor], Tensor]
"""[batch, *domain] to [batch, *range], linear in each item; it need not be differentiable."""


def projector(grid: ImageGrid, scan: Scan) -> Projector:
    """Line integrals along every ray by Joseph's method, as sparse matrices or GPU kernels.

    (Ax)[v, k] = ∫ x along the ray to bin k of view v (`scan.rays`; in a parallel beam the line
    x cos θ_v + y sin θ_v = s_k), value × length in mm. A ray is sampled once in every row or
    column, whichever it crosses more steeply, with linear interpolation between the two pixels
    beside it, and zero outside the image (ASTRA's `linear` kernel). Bins have no width: a detector
    much coarser than the pixels leaves pixels unseen.

    On a GPU with Triton and a C compiler, kernels compute each weight where it is used. They keep
    a few numbers a view (of a fan: 4 a ray) and copy the batch to their layout, in pieces
    of 256 MB or 8 slices. Their first call with a dtype compiles, for seconds; later ones neither
    copy from or to the host nor wait for the device, and may be captured in a CUDA graph.

    Elsewhere the weights are computed in float64 at the first use with a dtype on a device and
    kept for it. With N the larger side of the image, each of A and Aᵀ holds at most 2·N weights a
    ray, of 8 bytes in float32 and 12 in float64, and hardly more memory is taken while they are
    made. Views that are mirror images or quarter turns of one another share weights: 512², 60
    views, 726 bins in float32 take 122 MB together where the angles are even, made in half a
    second, and 455 MB, made in 1.5 s, where they are not.

    Args:
        grid: where the pixels are.
        scan: where the rays are.

    Returns:
        A with domain_shape (rows, columns) and range_shape (views, detectors).

    Source:
        P. M. Joseph, An improved algorithm for reprojecting rays through pixel images, IEEE
        Transactions on Medical Imaging 1(3), 1982.

    Example:
        >>> from ct.geometry import ParallelBeam
        >>> A = projector(ImageGrid((4, 4), pixel_size=0.5), ParallelBeam((0.0,), 4, 0.5))
        >>> A(torch.ones(4, 4))
        tensor([[2., 2., 2., 2.]])
        >>> A.T(A(torch.ones(4, 4))).shape
        torch.Size([4, 4])
    """
    check_fits(grid, scan)
    weights = WeightsByDevice(grid, scan)
    return Projector(
        domain_shape=grid.shape,
        range_shape=(scan.n_views, scan.n_detectors),
        forward=weights.forward,
        adjoint=weights.adjoint,
    )


class Projector:
    """A linear map between arrays of two dimensions, over any leading batch dimensions.

    A(x) takes [..., *domain_shape] to [..., *range_shape], in the dtype (float32 or float64) and
    on the device of x. Gradients, their gradients, forward-mode derivatives and `torch.func.vmap`
    all work, because the derivative of A is A, and of its adjoint the adjoint.

    Attributes:
        domain_shape: shape of the last two dimensions of x.
        range_shape: shape of the last two dimensions of A(x).
    """

    def __init__(
        self,
        *,
        domain_shape: tuple[int, int],
        range_shape: tuple[int, int],
        forward: BatchMap,
        adjoint: BatchMap,
    ) -> None:
        self.domain_shape = domain_shape
        self.range_shape = range_shape
        self._forward = forward
        self._adjoint = adjoint
        self._transpose_of: Projector | None = None

    @property
    def T(self) -> Projector:  # noqa: N802
        """The adjoint Aᵀ, itself a projector; A.T.T is A."""
        if self._transpose_of is not None:
            return self._transpose_of
        # made anew each time: a stored one would be a cycle that keeps the weights alive
        transpose = Projector(
            domain_shape=self.range_shape,
            range_shape=self.domain_shape,
            forward=self._adjoint,
            adjoint=self._forward,
        )
        transpose._transpose_of = self
        return transpose

    def __call__(self, x: Tensor) -> Tensor:
        """Apply the map.

        Args:
            x: [..., *domain_shape], float32 or float64.

        Returns:
            [..., *range_shape].

        Raises:
            ValueError: not a float32 or float64 tensor, or of another shape.
        """
        dtype = getattr(x, "dtype", None)
        if not isinstance(dtype, torch.dtype) or dtype not in {torch.float32, torch.float64}:
            raise ValueError(
                "projector: expected a tensor of float32 or float64, got "
                f"{type(x).__name__} of {dtype}; convert it."
            )
        if tuple(x.shape[-2:]) != self.domain_shape:
            wanted = ", ".join(str(n) for n in self.domain_shape)
            raise ValueError(f"projector: expected shape [..., {wanted}], got {list(x.shape)}.")
        return _apply(x, self)

    def __repr__(self) -> str:
        return f"<Projector {list(self.domain_shape)} -> {list(self.range_shape)}>"


def _apply(x: Tensor, operator: Projector) -> Tensor:
    if not _may_be_differentiated(x):
        return _map(x, operator)
    return cast("Tensor", _LinearMap.apply(x, operator))  # type: ignore[no-untyped-call]


def _may_be_differentiated(x: Tensor) -> bool:
    """Tell whether autograd or `torch.func` sees x; their bookkeeping takes 0.1 ms a call.

    Returns:
        Whether it does.
    """
    return (
        (x.requires_grad and torch.is_grad_enabled())
        or forward_ad._current_level >= 0
        or torch._C._functorch.is_functorch_wrapped_tensor(x)
    )


def _map(x: Tensor, operator: Projector) -> Tensor:
    batch = x.shape[:-2]
    if math.prod(batch) == 0:
        return x.new_zeros(*batch, *operator.range_shape)
    y = operator._forward(x.reshape(-1, *operator.domain_shape))
    return y.reshape(*batch, *operator.range_shape)


class _LinearMap(torch.autograd.Function):
    """y = A(x): forward mode is A again, reverse mode is Aᵀ, each differentiable like this one."""

    @staticmethod
    def forward(x: Tensor, operator: Projector) -> Tensor:
        return _map(x, operator)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Projector], output: Tensor) -> None:  # noqa: ARG004
        _, ctx.operator = inputs

    @staticmethod
    def backward(ctx: Any, y_grad: Tensor) -> tuple[Tensor, None]:
        return _apply(y_grad, ctx.operator.T), None

    @staticmethod
    def jvp(ctx: Any, x_tangent: Tensor, _: None) -> Tensor:
        return _apply(x_tangent, ctx.operator)

    @staticmethod
    def vmap(
        info: Any,  # noqa: ARG004
        in_dims: tuple[int, None],
        x: Tensor,
        operator: Projector,
    ) -> tuple[Tensor, int]:
        return _apply(x.movedim(in_dims[0], 0), operator), 0
