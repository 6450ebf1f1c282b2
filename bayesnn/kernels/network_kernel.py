"""NNGP and NTK of a network as functions k(x1, x2), computed in tiles that fit a cache."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn

from bayesnn.checks import as_finite_tensor
from bayesnn.kernels.rules.inputs import (
    InputRule,
    input_rule_of,
    mixes_positions,
    n_positions,
    raw_inputs,
)
from bayesnn.kernels.rules.residual import residual_rule
from bayesnn.kernels.rules.rule import Rule
from bayesnn.kernels.rules.table import hyperparameters_of, rule_of
from bayesnn.kernels.state import KernelState
from bayesnn.networks import FourierFeatures, Residual

Step = tuple[Rule, dict[str, str]]  # and the prior scales it needs, by their names in the network

TILE = 256  # points a side; matrices of this size stay in a core's cache
IMAGE_TILE = 2**18  # covariances at a time of points that have positions


@dataclass(frozen=True, kw_only=True)
class NetworkKernel:
    """The kernel of a network's outputs as its width goes to infinity; see `nngp` and `ntk`.

    Attributes:
        steps: rule of each layer and the names of its prior scales, in the order of running.
        hyperparameters: prior scales by the layer's name and their own, "0.weight_std"; tensors
            where derivatives in them are wanted.
        features: fixed feature maps that come before the first layer.
        inputs: gives the covariances of the points themselves, and the names of its prior scales.
        pairs: whether a layer mixes positions, so that all pairs of them are followed.
        tangent: whether it is the NTK, and not the NNGP kernel.
    """

    steps: tuple[Step, ...]
    hyperparameters: Mapping[str, Tensor | float]
    features: tuple[nn.Module, ...] = field(default=())
    inputs: tuple[InputRule, dict[str, str]] = field(default=(raw_inputs, {}))
    pairs: bool
    tangent: bool

    def __call__(self, x1: Tensor, x2: Tensor | None = None) -> Tensor:
        """Return the kernel matrix.

        Args:
            x1: points, [n1, features], sequences [n1, tokens, features] or images [n1, channels,
                rows, columns].
            x2: points of the same kind, [n2, ...]; None for x1.

        Returns:
            [n1, n2], of x1's dtype and device.

        Raises:
            ValueError: NaN, infinities, or shapes that differ.
        """
        first = self._inputs(x1, "x1")
        second = first if x2 is None else self._inputs(x2, "x2")
        if first.shape[1:] != second.shape[1:]:
            raise ValueError(
                f"x2: expected points of shape {tuple(first.shape[1:])} as in x1, got "
                f"{tuple(second.shape[1:])}."
            )
        size = self._tile_size(first)
        if self._wants_gradient(first, second) or max(len(first), len(second)) <= size:
            return self._tile(first, second)
        result = first.new_empty(len(first), len(second))
        for rows in _tiles(len(first), size):
            for columns in _tiles(len(second), size):
                if x2 is None and columns.start < rows.start:
                    continue
                diagonal = x2 is None and rows == columns
                left = first[rows]
                tile = self._tile(left, left if diagonal else second[columns])
                result[rows, columns] = tile
                if x2 is None and not diagonal:
                    result[columns, rows] = tile.T
        return result

    def diagonal(self, x: Tensor) -> Tensor:
        """Return k(x_i, x_i) of each point, [n]."""
        points = self._inputs(x, "x")
        each = [self._tile(point, point).view(1) for point in torch.split(points, 1)]
        return torch.cat(each)

    def with_hyperparameters(self, values: Mapping[str, Tensor | float]) -> NetworkKernel:
        """Return the kernel with other prior scales, which may be tensors that need a gradient.

        Args:
            values: by the names in `hyperparameters`; those left out stay.

        Raises:
            ValueError: a name that the network has not.
        """
        unknown = sorted(set(values) - set(self.hyperparameters))
        if unknown:
            raise ValueError(
                f"hyperparameters: expected names among {', '.join(self.hyperparameters)}, got "
                f"{', '.join(unknown)}."
            )
        return replace(self, hyperparameters={**self.hyperparameters, **values})

    def _inputs(self, x: Tensor, name: str) -> Tensor:
        points = as_finite_tensor(x, name, ndim=range(2, 5))
        for module in self.features:
            points = module.to(points)(points)
        return points

    def _tile_size(self, x: Tensor) -> int:
        if x.ndim == 2:
            return TILE
        positions = n_positions(x)
        return max(1, math.isqrt(IMAGE_TILE // (positions**2 if self.pairs else positions)))

    def _wants_gradient(self, *tensors: Tensor) -> bool:
        given = (*tensors, *(v for v in self.hyperparameters.values() if isinstance(v, Tensor)))
        return torch.is_grad_enabled() and any(one.requires_grad for one in given)

    def _tile(self, x1: Tensor, x2: Tensor) -> Tensor:
        rule, names = self.inputs
        scales = {key: self.hyperparameters[name] for key, name in names.items()}
        gram, var1, var2 = rule(x1, x2, self.pairs, scales)
        state = KernelState(
            nngp=gram,
            ntk=torch.zeros_like(gram) if self.tangent else None,
            var1=var1,
            var2=var2,
            n_positions=x1.ndim - 2,
            pairs=self.pairs and x1.ndim > 2,
        )
        state = _run(self.steps, state, self.hyperparameters)
        result = state.ntk if self.tangent else state.nngp
        assert result is not None
        if result.ndim > 2:
            raise ValueError(
                "network: its outputs still have positions; end it with Flatten, TokenMean or "
                "global pooling, and a linear layer."
            )
        # rules may treat the two points differently, by rounding or quadrature
        return (result + result.T) / 2 if x2 is x1 else result


def nngp(network: nn.Module) -> NetworkKernel:
    """Return K, the covariance of f(·, θ₀) as every hidden layer's width goes to infinity.

    Source: Lee et al., 2018, arXiv 1711.00165; Matthews et al., 2018, arXiv 1804.11271.

    Args:
        network: a sequence of layers that have a kernel rule; their widths do not matter.

    Returns:
        k(x1, x2=None) -> [n1, n2], in x1's dtype and on its device.

    Raises:
        ValueError: a module without a rule.

    Example:
        >>> from bayesnn.networks import Erf, mlp
        >>> net = mlp(in_features=2, out_features=1, width=8, depth=2, activation=Erf())
        >>> nngp(net)(torch.eye(2)).shape
        torch.Size([2, 2])
    """
    return _kernel(network, tangent=False)


def ntk(network: nn.Module) -> NetworkKernel:
    """Return Θ, the limit of J(x, θ₀) Λ⁻¹ J(x', θ₀)ᵀ: the neural tangent kernel.

    It is the kernel of the network in NTK parametrisation, also where its layers are in standard
    parametrisation. Source: Jacot, Gabriel, Hongler, 2018, arXiv 1806.07572.

    Args:
        network: a sequence of layers that have a kernel rule; their widths do not matter.

    Returns:
        k(x1, x2=None) -> [n1, n2], in x1's dtype and on its device.

    Raises:
        ValueError: a module without a rule.

    Example:
        >>> from bayesnn.networks import Erf, mlp
        >>> net = mlp(in_features=2, out_features=1, width=8, depth=2, activation=Erf())
        >>> x = torch.eye(2)
        >>> bool((ntk(net).diagonal(x) > nngp(net).diagonal(x)).all())
        True
    """
    return _kernel(network, tangent=True)


def _kernel(network: nn.Module, *, tangent: bool) -> NetworkKernel:
    _check_weights_are_not_shared(network)
    features: list[nn.Module] = []
    leaves = list(_leaves(network, ""))
    while leaves and isinstance(leaves[0][1], FourierFeatures):
        features.append(leaves.pop(0)[1])
    hyperparameters: dict[str, Tensor | float] = {}
    inputs: tuple[InputRule, dict[str, str]] = (raw_inputs, {})
    found = input_rule_of(leaves[0][1]) if leaves else None
    if found is not None:
        name, module = leaves.pop(0)
        inputs = found, _named_scales(name, module, hyperparameters)
    return NetworkKernel(
        steps=_steps(leaves, hyperparameters),
        hyperparameters=hyperparameters,
        features=tuple(features),
        inputs=inputs,
        pairs=any(mixes_positions(module) for module in network.modules()),
        tangent=tangent,
    )


def _steps(
    leaves: Iterable[tuple[str, nn.Module]], hyperparameters: dict[str, Tensor | float]
) -> tuple[Step, ...]:
    """Return the layers' steps, and add their prior scales to the dictionary."""
    steps: list[Step] = []
    for name, module in leaves:
        prefix = f"{name}." if name else ""
        if isinstance(module, Residual):
            inner: dict[str, Tensor | float] = {}
            branch = _steps(_leaves(module.branch, f"{prefix}branch"), inner)
            rule = residual_rule(partial(_run, branch), module.scale)
            names = {key: key for key in inner}
            hyperparameters |= inner
        else:
            found = rule_of(module)
            if found is None:
                raise ValueError(
                    f"network: {type(module).__name__} ({name or 'the network'}) has no kernel "
                    "rule; build the network from bayesnn.networks, or give the module a method "
                    "propagate_kernel(state, hyperparameters)."
                )
            rule = found
            names = _named_scales(name, module, hyperparameters)
        steps.append((rule, names))
    return tuple(steps)


def _named_scales(
    name: str, module: nn.Module, hyperparameters: dict[str, Tensor | float]
) -> dict[str, str]:
    """Return the names of a layer's prior scales, and add their values to the dictionary."""
    own = hyperparameters_of(module)
    names = {key: f"{name}.{key}" if name else key for key in own}
    hyperparameters |= {names[key]: value for key, value in own.items()}
    return names


def _check_weights_are_not_shared(network: nn.Module) -> None:
    names = [name for name, _ in network.named_parameters(remove_duplicate=False)]
    unique = {name for name, _ in network.named_parameters()}
    shared = [name for name in names if name not in unique]
    if shared:
        raise ValueError(
            f"network: {shared[0]} shares its values with another place of the network; kernels "
            "of infinite width are for layers whose weights are independent."
        )


def _run(
    steps: tuple[Step, ...], state: KernelState, hyperparameters: Mapping[str, Tensor | float]
) -> KernelState:
    for rule, names in steps:
        state = rule(state, {key: hyperparameters[name] for key, name in names.items()})
    return state


def _leaves(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    if type(module) is nn.Sequential:
        # not named_children, which leaves out a module's second appearance
        for key, child in module._modules.items():
            if child is not None:
                yield from _leaves(child, f"{name}.{key}" if name else key)
    else:
        yield name, module


def _tiles(n: int, size: int) -> list[slice]:
    return [slice(first, min(first + size, n)) for first in range(0, n, size)]
