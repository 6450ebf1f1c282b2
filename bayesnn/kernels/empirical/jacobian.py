"""The Jacobian J of any module in its parameters: its rows, and products from both sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, jacrev, jvp, vmap

Params = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Tangent:
    """A module at some parameters, as a function of them: f(x, θ) [n, k].

    Attributes:
        network: the module.
        params: θ, by name.
        fixed: all other parameters and buffers.
    """

    network: nn.Module
    params: Params
    fixed: Params

    def value(self, params: Params, x: Tensor) -> Float[Tensor, "n k"]:
        """Return f(x, θ)."""
        value: Tensor = functional_call(self.network, self.fixed | params, (x,))
        return value.reshape(len(x), -1)

    def rows(self, x: Tensor) -> Params:
        """Return J of each point, [n, k, *shape] by parameter, all points at once."""

        def of_point(params: Params, point: Tensor) -> Tensor:
            return self.value(params, point.unsqueeze(0))[0]

        rows: Params = vmap(jacrev(of_point), in_dims=(None, 0))(self.params, x)
        return rows

    def rows_by_autograd(self, x: Tensor) -> Params:
        """Return what `rows` does, point after point: for modules that vmap does not take."""
        return stacked([self._of_point(point) for point in x])

    def _of_point(self, point: Tensor) -> Params:
        params, leaves = self._leaves()
        with torch.enable_grad():
            values = self.value(params, point.unsqueeze(0))[0]
            each = [_gradient(value, leaves) for value in values]
        return stacked([dict(zip(params, one, strict=True)) for one in each])

    def pull(self, x: Tensor, cotangent: Float[Tensor, "n k"]) -> Params:
        """Return Jᵀu."""
        params, leaves = self._leaves()
        with torch.enable_grad():
            values = self.value(params, x)
            return dict(zip(params, _gradient((values * cotangent).sum(), leaves), strict=True))

    def push(self, x: Tensor, direction: Params) -> Float[Tensor, "n k"]:
        """Return J·v, in forward mode."""
        tangent: Tensor = jvp(lambda p: self.value(p, x), (self.params,), (direction,))[1]
        return tangent

    def push_by_autograd(self, x: Tensor, direction: Params) -> Float[Tensor, "n k"]:
        """Return J·v as the derivative of Jᵀu in u: for modules without a forward mode."""
        params, leaves = self._leaves()
        with torch.enable_grad():
            values = self.value(params, x)
            dual = torch.zeros_like(values, requires_grad=True)
            pulled = torch.autograd.grad(
                values, leaves, dual, create_graph=True, allow_unused=True, materialize_grads=True
            )
            total = sum(
                ((one * direction[name]).sum() for name, one in zip(params, pulled, strict=True)),
                start=values.new_zeros(()),
            )
            return torch.autograd.grad(total, dual)[0]

    def _leaves(self) -> tuple[Params, list[Tensor]]:
        params = {name: value.detach().requires_grad_() for name, value in self.params.items()}
        return params, list(params.values())


def pushes(tangent: Tangent, x: Tensor, directions: Params) -> Float[Tensor, "s n k"]:
    """Return J·v for stacked directions v, [s, ...] by parameter."""
    each: Tensor = vmap(lambda v: tangent.push(x, v))(directions)
    return each


def agrees(quick: Callable[[], Params | Tensor], sure: Callable[[], Params | Tensor]) -> bool:
    """Return whether a transform takes a module, and gives what plain autograd gives.

    Some operations take no batches, some have no forward mode, and some have rules that are wrong.
    """
    try:
        found = quick()
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, NotImplementedError, ValueError):
        return False  # a module that does not run at all fails again the other way
    expected = sure()
    one, other = (_flat(value) for value in (found, expected))
    return one.shape == other.shape and bool((one - other).abs().max() <= 1e-3 * other.abs().max())


def stacked(each: list[Params]) -> Params:
    """Return the tensors of several dictionaries, stacked by name."""
    return {name: torch.stack([one[name] for one in each]) for name in each[0]}


def _gradient(value: Tensor, leaves: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(
        value, leaves, retain_graph=True, allow_unused=True, materialize_grads=True
    )


def _flat(value: Params | Tensor) -> Tensor:
    if isinstance(value, Tensor):
        return value.flatten()
    return torch.cat([one.flatten() for one in value.values()])
