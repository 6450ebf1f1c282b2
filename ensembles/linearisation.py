"""The Jacobian J of many members at once: products with it, and the kernel J Λ⁻¹ Jᵀ.

`LayerwiseJacobian` never forms J. A linear layer with inputs a and output gradients g adds
(s²·aᵀa' + b²)·(gᵀg') to the kernel, with s and b the prior scales of its weights and bias, so
everything costs one forward and `outputs` backward passes. `ExplicitJacobian` forms J and serves
any network. Both take the network to treat points independently.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vjp, vmap

from bayesnn.networks import NTKLinear, StandardLinear, prior_precision
from ensembles.methods.protocol import Params


@runtime_checkable
class Jacobian(Protocol):
    """J of m members at n points, and Λ, as a linear map from parameters to outputs."""

    @property
    def values(self) -> Tensor:
        """The outputs f(x, θ), [m, n, k]."""
        ...

    def kernel(self) -> Tensor:
        """Return J Λ⁻¹ Jᵀ, [m, k·n, k·n]: the points run fastest."""
        ...

    def times(self, direction: Params) -> Tensor:
        """Return J·v, [m, n, k]."""
        ...

    def preconditioned_transpose(self, cotangent: Tensor) -> Params:
        """Return Λ⁻¹Jᵀ·u for u [m, n, k]."""
        ...


def jacobian(network: nn.Module, params: Params, x: Float[Tensor, "n d"]) -> Jacobian:
    """Linearise `network` at m stacked parameter sets, without forming J where that is possible.

    Args:
        network: the module that the parameters belong to.
        params: stacked parameters, [m, ...] each.
        x: points.

    Returns:
        The layer-by-layer form if all trainable parameters are those of linear layers that are
        called once each on [n, features]; else the explicit form.
    """
    layers = _linear_layers(network)
    calls = _count_calls(network, layers, x[:1])
    if all(count == 1 for count in calls.values()) and layers:
        return _layerwise(network, layers, params, x)
    return _explicit(network, params, x)


@dataclass(frozen=True, kw_only=True)
class _Factors:
    """One linear layer y = weight_scale · a Wᵀ + bias_scale · b at m members and n points."""

    name: str
    inputs: Float[Tensor, "m n fan_in"]
    gradients: Float[Tensor, "m k n fan_out"]
    prior_scale: tuple[float, float]  # of a standard normal weight and bias
    precision: tuple[float, float]

    def kernel(self) -> Float[Tensor, "m kn kn"]:
        weight, bias = self.prior_scale
        k = self.gradients.shape[1]
        flat = self.gradients.flatten(1, 2)
        outer = weight**2 * self.inputs @ self.inputs.mT + bias**2
        return (flat @ flat.mT).mul_(outer.repeat(1, k, k))

    def times(self, direction: Params) -> Float[Tensor, "m n k"]:
        weight, bias = (s * p**0.5 for s, p in zip(self.prior_scale, self.precision, strict=True))
        change = weight * self.inputs @ direction[f"{self.name}weight"].mT
        if bias > 0:
            change += bias * direction[f"{self.name}bias"].unsqueeze(1)
        return torch.einsum("mkno,mno->mnk", self.gradients, change)

    def preconditioned_transpose(self, cotangent: Float[Tensor, "m n k"]) -> Params:
        weight, bias = (s / p**0.5 for s, p in zip(self.prior_scale, self.precision, strict=True))
        gradient = torch.einsum("mkno,mnk->mno", self.gradients, cotangent)
        result = {f"{self.name}weight": weight * gradient.mT @ self.inputs}
        if bias > 0:
            result[f"{self.name}bias"] = bias * gradient.sum(1)
        return result


@dataclass(frozen=True, kw_only=True)
class LayerwiseJacobian:
    """J as inputs and output gradients of each linear layer."""

    values: Float[Tensor, "m n k"]
    factors: list[_Factors]

    def kernel(self) -> Float[Tensor, "m kn kn"]:
        """Return J Λ⁻¹ Jᵀ."""
        total = self.factors[0].kernel()
        for factor in self.factors[1:]:
            total += factor.kernel()
        return total

    def times(self, direction: Params) -> Float[Tensor, "m n k"]:
        """Return J·v."""
        total = self.factors[0].times(direction)
        for factor in self.factors[1:]:
            total += factor.times(direction)
        return total

    def preconditioned_transpose(self, cotangent: Float[Tensor, "m n k"]) -> Params:
        """Return Λ⁻¹Jᵀ·u."""
        result: Params = {}
        for factor in self.factors:
            result |= factor.preconditioned_transpose(cotangent)
        return result


@dataclass(frozen=True, kw_only=True)
class ExplicitJacobian:
    """J itself, by parameter name, [m, n, k, *shape]."""

    values: Float[Tensor, "m n k"]
    rows: Params
    precision: Params

    def kernel(self) -> Float[Tensor, "m kn kn"]:
        """Return J Λ⁻¹ Jᵀ."""
        m, n, k = self.values.shape
        total = self.values.new_zeros(m, k * n, k * n)
        for name, rows in self.rows.items():
            white = (rows / self.precision[name].sqrt()).transpose(1, 2).reshape(m, k * n, -1)
            total += white @ white.mT
        return total

    def times(self, direction: Params) -> Float[Tensor, "m n k"]:
        """Return J·v."""
        parts = [
            torch.einsum("mnkp,mp->mnk", rows.flatten(3), direction[name].flatten(1))
            for name, rows in self.rows.items()
        ]
        return torch.stack(parts).sum(0)

    def preconditioned_transpose(self, cotangent: Float[Tensor, "m n k"]) -> Params:
        """Return Λ⁻¹Jᵀ·u."""
        return {
            name: torch.einsum("mnk...,mnk->m...", rows, cotangent) / self.precision[name]
            for name, rows in self.rows.items()
        }


Linear = NTKLinear | StandardLinear


def _linear_layers(network: nn.Module) -> dict[str, Linear]:
    """Return the linear layers by name prefix; none if they do not hold all that is trained."""
    layers = {
        f"{name}." if name else "": module
        for name, module in network.named_modules()
        if isinstance(module, Linear)
    }
    held = {
        f"{prefix}{name}" for prefix, one in layers.items() for name, _ in one.named_parameters()
    }
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    return layers if held == trained else {}


def _count_calls(network: nn.Module, layers: dict[str, Linear], x: Tensor) -> dict[str, int]:
    """Return how often each layer is called on [n, features]; another shape counts as two."""
    calls = dict.fromkeys(layers, 0)

    def count(prefix: str, _: nn.Module, args: tuple[Tensor, ...]) -> None:
        calls[prefix] += 1 if args[0].shape[:-1] == x.shape[:1] else 2

    handles = [
        layer.register_forward_pre_hook(partial(count, prefix)) for prefix, layer in layers.items()
    ]
    try:
        with torch.no_grad():
            network(x)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _layerwise(
    network: nn.Module, layers: dict[str, Linear], params: Params, x: Tensor
) -> LayerwiseJacobian:
    def one(member: Params) -> tuple[Tensor, Params, Params]:
        inputs: Params = {}

        def run(nudges: Params) -> tuple[Tensor, Params]:
            def nudge(prefix: str, _: nn.Module, args: tuple[Tensor], output: Tensor) -> Tensor:
                inputs[prefix] = args[0]
                return output + nudges[prefix]

            handles = [
                layer.register_forward_hook(partial(nudge, prefix))
                for prefix, layer in layers.items()
            ]
            try:
                values: Tensor = functional_call(network, member, (x,))
            finally:
                for handle in handles:
                    handle.remove()
            return values, inputs

        zeros = {p: x.new_zeros(x.shape[0], layer.out_features) for p, layer in layers.items()}
        values, pull_back, seen = vjp(run, zeros, has_aux=True)  # type: ignore[misc]
        seeds = torch.eye(values.shape[1], dtype=values.dtype, device=values.device)
        seeds = seeds.unsqueeze(1).expand(-1, x.shape[0], -1)  # output j of every point at once
        (gradients,) = vmap(pull_back)(seeds)
        return values, seen, gradients

    values, inputs, gradients = vmap(one)(params)
    m = values.shape[0]
    factors = []
    for prefix, layer in layers.items():
        precision = layer.own_prior_precision()
        factors.append(
            _Factors(
                name=prefix,
                inputs=inputs[prefix].expand(m, -1, -1),
                gradients=gradients[prefix],
                prior_scale=(layer.weight_std / layer.in_features**0.5, layer.bias_std),
                precision=(precision["weight"], precision.get("bias", 1.0)),
            )
        )
    return LayerwiseJacobian(values=values, factors=factors)


def _explicit(network: nn.Module, params: Params, x: Tensor) -> ExplicitJacobian:
    def at_point(member: Params, point: Tensor) -> tuple[Tensor, Tensor]:
        values: Tensor = functional_call(network, member, (point.unsqueeze(0),))[0]
        return values, values

    per_point = vmap(jacrev(at_point, has_aux=True), in_dims=(None, 0))
    rows, values = vmap(per_point, in_dims=(0, None))(params, x)
    return ExplicitJacobian(values=values, rows=rows, precision=prior_precision(network))
