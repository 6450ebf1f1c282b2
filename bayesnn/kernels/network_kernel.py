"""NNGP and NTK of a network as functions k(x1, x2), computed in tiles that fit a cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn

from bayesnn.checks import as_finite_tensor
from bayesnn.kernels.compiled import compiled_or_eager
from bayesnn.kernels.derivatives import wants_derivatives
from bayesnn.kernels.matrix import Recursion, Variances, fill, whole
from bayesnn.kernels.rules.inputs import (
    InputRule,
    Products,
    input_rule_of,
    mixes_positions,
    n_positions,
    raw_inputs,
)
from bayesnn.kernels.state import KernelState, Trail
from bayesnn.kernels.steps import (
    Step,
    check_weights_are_not_shared,
    leaves_of,
    named_scales,
    run_steps,
    steps_of,
)
from bayesnn.kernels.tiles import Tiling, spans, tiling
from bayesnn.kernels.variances import Record, Replay
from bayesnn.networks import FourierFeatures

Read = Callable[[KernelState], Tensor]
ThroughLayers = Callable[..., tuple[Tensor, ...]]  # of a tile, as `_through_layers`


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
        through_layers: runs the layers on a tile; None for torch's operations one by one.
    """

    steps: tuple[Step, ...]
    hyperparameters: Mapping[str, Tensor | float]
    features: tuple[nn.Module, ...] = field(default=())
    inputs: tuple[InputRule, dict[str, str]] = field(default=(raw_inputs, {}))
    pairs: bool
    tangent: bool
    through_layers: ThroughLayers | None = field(default=None, repr=False)

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
        return self._matrices(x1, x2, _ntk if self.tangent else _nngp)[0]

    def with_nngp(self, x1: Tensor, x2: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the kernel and the NNGP kernel of the same points, in one go.

        Args:
            x1: points, as for a call.
            x2: points of the same kind; None for x1.

        Returns:
            Both matrices, [n1, n2]; the second is `nngp(network)(x1, x2)`.

        Raises:
            ValueError: NaN, infinities, or shapes that differ.
        """
        if not self.tangent:
            matrix = self(x1, x2)
            return matrix, matrix
        kernel, nngp = self._matrices(x1, x2, _ntk, _nngp)
        return kernel, nngp

    def diagonal(self, x: Tensor) -> Tensor:
        """Return k(x_i, x_i) of each point, [n]."""
        points = self._inputs(x, "x")
        size = self._tiling(points).block
        return torch.cat([self._diagonal(points[rows]) for rows in spans(len(points), size)])

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

    def compiled(self) -> NetworkKernel:
        """Return the kernel with its layers fused by torch.compile, for large matrices on a GPU.

        All layers become one pass over a tile. The first call compiles, for seconds to minutes, as
        does one with other prior scales. Calls that want derivatives run uncompiled, as does every
        call where compilation fails, after one RuntimeWarning.

        Returns:
            The same function, to rounding.
        """
        return replace(self, through_layers=compiled_or_eager(_through_layers))

    def _inputs(self, x: Tensor, name: str) -> Tensor:
        points = as_finite_tensor(x, name, ndim=range(2, 5))
        for module in self.features:
            points = module.to(points)(points)
        return points

    def _matrices(self, x1: Tensor, x2: Tensor | None, *reads: Read) -> tuple[Tensor, ...]:
        first = self._inputs(x1, "x1")
        second = first if x2 is None or x2 is x1 else self._inputs(x2, "x2")
        if first.shape[1:] != second.shape[1:]:
            raise ValueError(
                f"x2: expected points of shape {tuple(first.shape[1:])} as in x1, got "
                f"{tuple(second.shape[1:])}."
            )
        scales = [each for each in self.hyperparameters.values() if isinstance(each, Tensor)]
        eager = wants_derivatives(first, second, *scales)
        recursion = Recursion(
            variances=self._variances,
            follow=partial(self._follow, None if eager else self.through_layers, reads),
        )
        if eager:
            return whole(recursion, first, second)
        # threads may not write to tensors of another thread's inference mode
        with torch.inference_mode(mode=False), torch.no_grad():
            results = tuple(first.new_empty(len(first), len(second)) for _ in reads)
            fill(results, recursion, first, second, self._tiling(first))
        return results

    def _tiling(self, x: Tensor) -> Tiling:
        return tiling(x.device, n_positions(x), pairs=self.pairs and x.ndim > 2)

    def _products(self, x1: Tensor, x2: Tensor) -> Products:
        rule, names = self.inputs
        scales = {key: self.hyperparameters[name] for key, name in names.items()}
        return rule(x1, x2, self.pairs, scales)

    def _variances(self, x: Tensor) -> Variances:
        """Return the points' variances after each step, if that is cheap; else of the inputs."""
        nngp, var1, var2 = self._products(x, x[:1])
        if not self._knows_variances(x.ndim - 2):
            return [var1]
        record = Record()
        self._run(x.ndim - 2, nngp=nngp, var1=var1, var2=var2, trail=record)
        return record.values

    def _knows_variances(self, n_positions: int) -> bool:
        # of all pairs of positions they would take as much room as a tile's covariances
        return n_positions == 0 or not self.pairs

    def _follow(
        self,
        through: ThroughLayers | None,
        reads: tuple[Read, ...],
        x1: Tensor,
        x2: Tensor,
        first: Variances,
        second: Variances,
    ) -> tuple[Tensor, ...]:
        nngp = self._products(x1, x2)[0]
        return (through or _through_layers)(self, reads, x1.ndim - 2, nngp, first, second)

    def _diagonal(self, x: Tensor) -> Tensor:
        var = self._products(x, x[:1])[1]
        state = self._run(x.ndim - 2, nngp=var.unsqueeze(1), var1=var, var2=var, matched=True)
        return (_ntk if self.tangent else _nngp)(state).squeeze(1)

    def _run(
        self, n_positions: int, *, nngp: Tensor, var1: Tensor, var2: Tensor,
        trail: Trail | None = None, matched: bool = False,
    ) -> KernelState:  # fmt: skip
        state = KernelState(
            nngp=nngp,
            ntk=torch.zeros_like(nngp) if self.tangent else None,
            var1=var1,
            var2=var2,
            n_positions=n_positions,
            pairs=self.pairs and n_positions > 0,
            matched=matched,
            trail=trail,
        )
        if trail is not None:
            state = trail.after_step(state)
        state = run_steps(self.steps, state, self.hyperparameters)
        if state.nngp.ndim > 2:
            raise ValueError(
                "network: its outputs still have positions; end it with Flatten, TokenMean or "
                "global pooling, and a linear layer."
            )
        return state


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
    check_weights_are_not_shared(network)
    features: list[nn.Module] = []
    leaves = list(leaves_of(network, ""))
    while leaves and isinstance(leaves[0][1], FourierFeatures):
        features.append(leaves.pop(0)[1])
    hyperparameters: dict[str, Tensor | float] = {}
    inputs: tuple[InputRule, dict[str, str]] = (raw_inputs, {})
    found = input_rule_of(leaves[0][1]) if leaves else None
    if found is not None:
        name, module = leaves.pop(0)
        inputs = found, named_scales(name, module, hyperparameters)
    return NetworkKernel(
        steps=steps_of(leaves, hyperparameters),
        hyperparameters=hyperparameters,
        features=tuple(features),
        inputs=inputs,
        pairs=any(mixes_positions(module) for module in network.modules()),
        tangent=tangent,
    )


def _through_layers(
    kernel: NetworkKernel,
    reads: tuple[Read, ...],
    n_positions: int,
    nngp: Tensor,
    first: Variances,
    second: Variances,
) -> tuple[Tensor, ...]:
    known = kernel._knows_variances(n_positions)
    trail = Replay(first=first, second=second) if known else None
    state = kernel._run(n_positions, nngp=nngp, var1=first[0], var2=second[0], trail=trail)
    return tuple(read(state) for read in reads)


def _nngp(state: KernelState) -> Tensor:
    return state.nngp


def _ntk(state: KernelState) -> Tensor:
    assert state.ntk is not None
    return state.ntk
