"""Our kernels inside GPyTorch's models; GPyTorch loads on use.

It needs the extra `gpytorch`.
"""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Size, Tensor

from bayesnn.kernels import NetworkKernel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PAIRS = 64  # points a side of the blocks from which k(x1_i, x2_i) is taken


def gpytorch_kernel(
    kernel: NetworkKernel, *, input_shape: Sequence[int] | None = None, **settings: Any
) -> Any:
    """Return an infinite-width kernel as a `gpytorch.kernels.Kernel`.

    Its prior scales above 0 are parameters under GPyTorch's positivity constraint, learnt with the
    model's others: `raw_0_weight_std` is the transformed `kernel.hyperparameters["0.weight_std"]`.
    Inputs are data: no gradients in them.

    Args:
        kernel: `bayesnn.kernels.ntk(network)` or `nngp(network)`.
        input_shape: shape of one point where it is no vector, such as (1, 28, 28); GPyTorch hands
            points over flat, [..., n, features].
        settings: for `gpytorch.kernels.Kernel`, such as active_dims or batch_shape.

    Returns:
        The kernel module, of torch's default dtype; call `.double()` for float64 data.

    Raises:
        ImportError: GPyTorch is not installed.

    Example:
        >>> from bayesnn.kernels import ntk
        >>> from bayesnn.networks import Erf, mlp
        >>> net = mlp(in_features=2, out_features=1, width=8, depth=1, activation=Erf())
        >>> covariance = gpytorch_kernel(ntk(net))
        >>> covariance(torch.zeros(3, 2)).shape
        torch.Size([3, 3])
    """
    shape = None if input_shape is None else tuple(input_shape)
    return _kernel_class()(kernel, shape, **settings)


@cache
def _kernel_class() -> type:
    gpytorch = _gpytorch()

    class InfiniteWidthKernel(gpytorch.kernels.Kernel):  # type: ignore[misc, name-defined]
        """An infinite-width kernel whose prior scales are learnable parameters."""

        def __init__(
            self, kernel: NetworkKernel, input_shape: tuple[int, ...] | None, **settings: Any
        ) -> None:
            super().__init__(**settings)
            self.network_kernel, self.input_shape = kernel, input_shape
            self.scale_names = {
                name.replace(".", "_"): name
                for name, value in kernel.hyperparameters.items()
                if float(value) > 0
            }
            for short, name in self.scale_names.items():
                constraint = gpytorch.constraints.Positive()
                start = torch.full((*self.batch_shape, 1, 1), float(kernel.hyperparameters[name]))
                self.register_parameter(
                    f"raw_{short}", torch.nn.Parameter(constraint.inverse_transform(start))
                )
                self.register_constraint(f"raw_{short}", constraint)

        def scales(self) -> dict[str, Tensor]:
            """Return the prior scales by their names in the network, [*batch_shape, 1, 1]."""
            return {
                name: getattr(self, f"raw_{short}_constraint").transform(
                    getattr(self, f"raw_{short}")
                )
                for short, name in self.scale_names.items()
            }

        def forward(
            self, x1: Tensor, x2: Tensor, diag: bool = False, last_dim_is_batch: bool = False,
            **_: Any,
        ) -> Tensor:  # fmt: skip
            """Return k(x1, x2), [..., n1, n2], or its diagonal, [..., n]."""
            if last_dim_is_batch:
                raise ValueError(
                    "last_dim_is_batch: a network's kernel is of whole points, not a sum over "
                    "their features; leave it out."
                )
            batch = torch.broadcast_shapes(  # type: ignore[no-untyped-call]
                x1.shape[:-2], x2.shape[:-2], self.batch_shape
            )
            same = x1.shape == x2.shape and bool(torch.equal(x1, x2))
            results = [
                _of_pair(kernel, one, one if same else other, diag=diag)
                for kernel, one, other in self._members(batch, x1, x2)
            ]
            return torch.stack(results).reshape(*batch, *results[0].shape)

        def _members(
            self, batch: Size, x1: Tensor, x2: Tensor
        ) -> Iterator[tuple[NetworkKernel, Tensor, Tensor]]:
            """Yield kernel and points of each member of the batch."""
            scales = {
                name: value.expand(*batch, 1, 1).reshape(-1)
                for name, value in self.scales().items()
            }
            first, second = (
                x.expand(*batch, *x.shape[-2:]).reshape(-1, *x.shape[-2:]) for x in (x1, x2)
            )
            for i, (one, other) in enumerate(zip(first, second, strict=True)):
                kernel = self.network_kernel.with_hyperparameters({
                    name: value[i].to(one) for name, value in scales.items()
                })
                yield kernel, self._shaped(one), self._shaped(other)

        def _shaped(self, x: Tensor) -> Tensor:
            return x if self.input_shape is None else x.reshape(len(x), *self.input_shape)

    return InfiniteWidthKernel


def _of_pair(kernel: NetworkKernel, x1: Tensor, x2: Tensor, *, diag: bool) -> Tensor:
    if not diag:
        return kernel(x1) if x1 is x2 else kernel(x1, x2)
    blocks = zip(torch.split(x1, PAIRS), torch.split(x2, PAIRS), strict=True)
    if x1 is x2:
        return torch.cat([kernel(one).diagonal() for one, _ in blocks])
    return torch.cat([kernel(one, other).diagonal() for one, other in blocks])


def _gpytorch() -> ModuleType:
    try:
        return importlib.import_module("gpytorch")
    except ImportError as error:
        raise ImportError(
            "GPyTorch cannot be loaded; install the extra, pip install "
            f'"bayesnn[gpytorch]" ({error}).'
        ) from error
