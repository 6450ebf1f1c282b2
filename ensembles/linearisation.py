"""The Jacobian J of many members at once: products with it, and the kernel J Λ⁻¹ Jᵀ.

Layers that are linear in their parameters, each called once on every point, are taken layer by
layer: one forward and `outputs` backward passes, and J is never formed (`jacobian_parts`). For all
other parameters J is formed, by point. Both take the network to treat points independently. Points
go in blocks that fit a memory budget; with more than one block, blocks are computed anew where
they are needed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vjp, vmap

from bayesnn.networks import prior_precision
from ensembles.jacobian_parts import LayerPart, Part, RowsPart, uniform
from ensembles.linear_layers import Layer, linear_layers, outputs_hooked
from ensembles.methods.protocol import Params

CPU_BUDGET = 2**27  # bytes of one block
DEVICE_BUDGET = 2**31

Block = tuple[Tensor, list[Part]]  # outputs [m, a, k], and J in parts


@dataclass(frozen=True, kw_only=True)
class Linearisation:
    """A network and its points, ready to be linearised at any parameters; see `linearise`.

    Attributes:
        network: the module.
        x: points.
        layers: those that are taken layer by layer, by prefix.
        rest: the names of all other trainable parameters.
        precision: Λ.
        uniform_precision: its value for each tensor; None for one that varies.
        n_outputs: k, of a point.
        vectorised: whether torch.func.vmap takes the network.
        bytes_per_point: of a block, for one member.
        memory_budget: bytes of a block.
    """

    network: nn.Module
    x: Float[Tensor, "n ..."]
    layers: dict[str, Layer]
    rest: tuple[str, ...]
    precision: Params
    uniform_precision: dict[str, float | None]
    n_outputs: int
    vectorised: bool
    bytes_per_point: int
    memory_budget: int

    def at(self, params: Params) -> Jacobian:
        """Return the Jacobian at stacked parameters, [m, ...] each."""
        return Jacobian(self, params)

    def squared_norm(self, direction: Params) -> Float[Tensor, " m"]:
        """Return ‖v‖²_Λ of each member, in float64."""
        total = self.x.new_zeros((), dtype=torch.float64)
        for name, value in direction.items():
            factor = self.uniform_precision[name]
            flat = value.reshape(len(value), 1, -1)
            other = flat if factor is not None else flat * self.precision[name].flatten()
            each = (other @ flat.mT).flatten().double()
            total = total + (each if factor is None else factor * each)
        return total

    def blocks(self, n_members: int) -> list[slice]:
        """Return slices of points, each a block that fits the budget."""
        size = max(1, self.memory_budget // (n_members * self.bytes_per_point))
        n = len(self.x)
        return [slice(first, min(first + size, n)) for first in range(0, n, size)]

    def block(self, params: Params, points: Tensor) -> Block:
        """Return outputs and parts of J at some points."""
        each = vmap(self._one, in_dims=(0, None)) if self.vectorised else self._loop
        values, inputs, gradients, rows = each(params, points)
        parts: list[Part] = [
            LayerPart(
                inputs=layer.input_positions(inputs[prefix]),
                gradients=layer.output_positions(gradients[prefix]),
                weight=layer.weight,
                bias=layer.bias,
            )
            for prefix, layer in self.layers.items()
        ]
        if rows:
            parts.append(RowsPart(rows=rows, precision={k: self.precision[k] for k in rows}))
        return values, parts

    def _one(self, member: Params, points: Tensor) -> tuple[Tensor, Params, Params, Params]:
        """Return one member's outputs, layer inputs, output gradients [k, a, ...] and rows of J."""
        inputs: Params = {}
        if not self.layers:
            return self._nudged(member, points, {}, inputs), {}, {}, self._rows(member, points)

        def run(nudges: Params) -> tuple[Tensor, Params]:
            values = self._nudged(member, points, nudges, inputs)
            return values, inputs

        values, pull_back, seen = vjp(run, self._no_nudges(points), has_aux=True)  # type: ignore[misc]
        seeds = torch.eye(values.shape[1], dtype=values.dtype, device=values.device)
        seeds = seeds.unsqueeze(1).expand(-1, len(points), -1)  # output j of every point at once
        (gradients,) = vmap(pull_back)(seeds)
        return values, seen, gradients, self._rows(member, points)

    def _rows(self, member: Params, points: Tensor) -> Params:
        if not self.rest:
            return {}
        fixed = {name: value for name, value in member.items() if name not in self.rest}

        def at_point(moving: Params, point: Tensor) -> Tensor:
            values: Tensor = functional_call(self.network, fixed | moving, (point.unsqueeze(0),))
            return values[0]

        moving = {name: member[name] for name in self.rest}
        rows: Params = vmap(jacrev(at_point), in_dims=(None, 0))(moving, points)
        return rows

    def _loop(self, params: Params, points: Tensor) -> tuple[Tensor, Params, Params, Params]:
        """Return what `_one` does, of all members, by plain autograd."""
        members = [
            {name: value[i].detach() for name, value in params.items()}
            for i in range(len(next(iter(params.values()))))
        ]
        values, inputs, gradients, rows = zip(
            *(self._one_by_autograd(member, points) for member in members), strict=True
        )
        return torch.stack(values), _stack(inputs), _stack(gradients), _stack(rows)

    def _one_by_autograd(
        self, member: Params, points: Tensor
    ) -> tuple[Tensor, Params, Params, Params]:
        inputs: Params = {}
        nudges = {name: value.requires_grad_() for name, value in self._no_nudges(points).items()}
        with torch.enable_grad():
            values = self._nudged(member, points, nudges, inputs)
            gradients = _by_output(values.sum(0), nudges)
            rows = []
            moving = {name: member[name].clone().requires_grad_() for name in self.rest}
            for point in points if moving else ():
                one: Tensor = functional_call(self.network, member | moving, (point.unsqueeze(0),))
                rows.append(_by_output(one[0], moving))
        inputs = {name: value.detach() for name, value in inputs.items()}
        return values.detach(), inputs, gradients, _stack(rows)

    def _no_nudges(self, points: Tensor) -> Params:
        return {
            prefix: points.new_zeros(len(points), *layer.output_shape)
            for prefix, layer in self.layers.items()
        }

    def _nudged(self, member: Params, points: Tensor, nudges: Params, inputs: Params) -> Tensor:
        """Return the outputs with nudges added to those of layers; note the layers' inputs."""

        def nudge(prefix: str, layer_inputs: Tensor, output: Tensor) -> Tensor:
            inputs[prefix] = layer_inputs
            return output + nudges[prefix]

        modules = {prefix: layer.module for prefix, layer in self.layers.items()}
        with outputs_hooked(modules, nudge):
            values: Tensor = functional_call(self.network, member, (points,))
        return values


def _stack(parts: Sequence[Params]) -> Params:
    return {name: torch.stack([part[name] for part in parts]) for name in (parts or [{}])[0]}


def _by_output(values: Float[Tensor, " k"], of: Params) -> Params:
    """Return the derivative of each output, [k, ...]."""
    if not of:
        return {}
    each = [
        torch.autograd.grad(
            value, list(of.values()), retain_graph=True, allow_unused=True, materialize_grads=True
        )
        for value in values
    ]
    return {name: torch.stack([one[i] for one in each]) for i, name in enumerate(of)}


class Jacobian:
    """J of m members at n points, and Λ, as a linear map from parameters to outputs."""

    def __init__(self, linearisation: Linearisation, params: Params) -> None:
        self._linearisation = linearisation
        self._params = params
        self._slices = linearisation.blocks(len(next(iter(params.values()))))
        self._only = self._compute(self._slices[0]) if len(self._slices) == 1 else None

    def _compute(self, points: slice) -> Block:
        return self._linearisation.block(self._params, self._linearisation.x[points])

    def _blocks(self) -> Iterator[tuple[slice, Block]]:
        for points in self._slices:
            yield points, self._only or self._compute(points)

    @property
    def values(self) -> Float[Tensor, "m n k"]:
        """The outputs f(x, θ)."""
        return torch.cat([values for _, (values, _) in self._blocks()], dim=1)

    def kernel(self) -> Float[Tensor, "m kn kn"]:
        """Return J Λ⁻¹ Jᵀ: the points run fastest."""
        if self._only is not None:
            return _kernel(self._only, self._only)
        n = len(self._linearisation.x)
        total: Tensor | None = None
        for i, (rows, one) in enumerate(self._blocks()):
            m, _, k = one[0].shape
            if total is None:
                total = one[0].new_empty(m, k, n, k, n)
            for columns in self._slices[: i + 1]:
                other = one if columns == rows else self._compute(columns)
                block = _kernel(one, other).view(m, k, len(one[0][0]), k, len(other[0][0]))
                total[:, :, rows, :, columns] = block
                total[:, :, columns, :, rows] = block.permute(0, 3, 4, 1, 2)
        assert total is not None
        return total.flatten(3).flatten(1, 2)

    def mean_kernel(self) -> Float64[Tensor, "m n n"]:
        """Return J Λ⁻¹ Jᵀ of each output with itself, averaged over the outputs."""
        n = len(self._linearisation.x)
        total: Tensor | None = None
        for i, (rows, one) in enumerate(self._blocks()):
            m, _, k = one[0].shape
            if total is None:
                total = one[0].new_zeros(m, n, n, dtype=torch.float64)
            for columns in self._slices[: i + 1]:
                other = one if columns == rows else self._compute(columns)
                for j in range(k):
                    total[:, rows, columns] += (
                        _kernel(_output(one, j), _output(other, j)).double() / k
                    )
                if columns != rows:
                    total[:, columns, rows] = total[:, rows, columns].mT
        assert total is not None
        return total

    def times(self, direction: Params) -> Float[Tensor, "m n k"]:
        """Return J·v."""
        blocks = [
            torch.stack([part.times(direction) for part in parts]).sum(0)
            for _, (_, parts) in self._blocks()
        ]
        return torch.cat(blocks, dim=1)

    def preconditioned_transpose(self, cotangent: Float[Tensor, "m n k"]) -> Params:
        """Return Λ⁻¹Jᵀ·u."""
        total = {
            name: cotangent.new_zeros(len(cotangent), *value.shape)
            for name, value in self._linearisation.precision.items()
        }
        self.add_preconditioned_transpose(total, cotangent)
        return total

    def add_preconditioned_transpose(
        self, params: Params, cotangent: Float[Tensor, "m n k"]
    ) -> None:
        """Add Λ⁻¹Jᵀ·u to stacked parameters, in place."""
        for points, (_, parts) in self._blocks():
            for part in parts:
                part.add_preconditioned_transpose(params, cotangent[:, points])


def _output(block: Block, j: int) -> Block:
    """Return what belongs to one output."""
    values, parts = block
    return values[:, :, j : j + 1], [part.output(j) for part in parts]


def _kernel(one: Block, other: Block) -> Tensor:
    total: Tensor | None = None
    for mine, its in zip(one[1], other[1], strict=True):
        added = mine.kernel(its)
        total = added if total is None else total.add_(added)
    assert total is not None
    return total


def linearise(
    network: nn.Module, x: Float[Tensor, "n ..."], *, memory_budget: int | None = None
) -> Linearisation:
    """Prepare a network for being linearised in its parameters, at given points.

    Args:
        network: a module all of whose trainable parameters have a prior, on x's device; it is run
            twice on one point.
        x: points.
        memory_budget: bytes of activations and gradients at a time; by default 128 MiB on a CPU
            and 2 GiB elsewhere.

    Returns:
        What gives the Jacobian at any parameters.
    """
    precision = prior_precision(network)
    layers = linear_layers(network, x, precision)
    taken = {one.name for layer in layers.values() for one in (layer.weight, layer.bias) if one}
    rest = tuple(name for name in precision if name not in taken)
    with torch.no_grad():
        n_outputs = network(x[:1]).shape[1]
    numbers = sum(
        2 * layer.numbers_per_point[0] + (4 * n_outputs + 2) * layer.numbers_per_point[1]
        for layer in layers.values()
    )
    numbers += sum(3 * n_outputs * precision[name].numel() for name in rest)
    ready = Linearisation(
        network=network,
        x=x,
        layers=layers,
        rest=rest,
        precision=precision,
        uniform_precision={name: uniform(value) for name, value in precision.items()},
        n_outputs=n_outputs,
        vectorised=True,
        bytes_per_point=max(1, numbers * x.element_size()),
        memory_budget=memory_budget or (CPU_BUDGET if x.device.type == "cpu" else DEVICE_BUDGET),
    )
    return ready if _vmap_takes(ready) else replace(ready, vectorised=False)


def _vmap_takes(ready: Linearisation) -> bool:
    """Return whether vmap gives, at two members and two points, the kernel that the loop gives.

    Some operations take batches of one alone, and some have rules that are wrong.
    """
    own = dict(ready.network.named_parameters())
    params = {name: torch.stack([own[name].detach()] * 2) for name in ready.precision}
    kernels = []
    for way in (ready, replace(ready, vectorised=False)):
        try:
            with torch.no_grad(), warnings.catch_warnings():
                # a rule that is a loop inside gains nothing over a loop
                warnings.filterwarnings("error", message="There is a performance drop")
                block = way.block(params, ready.x[:2])
                kernels.append(_kernel(block, block))
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, NotImplementedError, ValueError, UserWarning):
            return False  # a network that does not run at all fails again in the loop
    vectorised, looped = kernels
    near = 1e-3 * float(looped.diagonal(dim1=1, dim2=2).max())
    return vectorised.shape == looped.shape and float((vectorised - looped).abs().max()) <= near


def jacobian(network: nn.Module, params: Params, x: Float[Tensor, "n ..."]) -> Jacobian:
    """Linearise `network` at m stacked parameter sets and n points.

    Args:
        network: as for `linearise`.
        params: stacked parameters, [m, ...] each.
        x: points.

    Returns:
        The Jacobian.
    """
    return linearise(network, x).at(params)
