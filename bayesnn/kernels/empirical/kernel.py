"""The empirical NTK as a function k(x1, x2), and as a linear map that is never formed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from bayesnn.checks import as_finite_tensor, check_count
from bayesnn.kernels.empirical.blocks import TangentBlocks
from bayesnn.kernels.empirical.jacobian import Tangent
from bayesnn.kernels.empirical.operator import TangentOperator
from bayesnn.networks import prior_precision, with_prior

CPU_BUDGET = 2**28  # bytes of rows of J, or of activations, at a time
DEVICE_BUDGET = 2**31


@dataclass(frozen=True, kw_only=True)
class EmpiricalNTK:
    """Θ̂(x, x') = J(x, θ) Λ⁻¹ J(x', θ)ᵀ of one network; see `empirical_ntk`.

    Attributes:
        network: the network, in evaluation mode.
        params: θ, by name.
        precision: Λ, by name.
        memory_budget: bytes of a block of J or of activations; None for 256 MiB on a CPU and 2 GiB
            elsewhere. The result comes on top.
    """

    network: nn.Module
    params: Mapping[str, Tensor]
    precision: Mapping[str, Tensor]
    memory_budget: int | None = field(default=None)

    def __call__(self, x1: Tensor, x2: Tensor | None = None) -> Tensor:
        """Return the kernel matrix, by rows of J or in forward mode, whichever takes less.

        Args:
            x1: points, [n1, ...].
            x2: points of the same kind, [n2, ...]; None for x1.

        Returns:
            [n1, n2] of a network with one output, [n1, n2, k, k] of one with k, in x1's dtype.
        """
        first = self._inputs(x1, "x1")
        second = first if x2 is None else self._inputs(x2, "x2").to(first.device)
        blocks = self._at(first)
        if blocks.takes_forward_mode(len(first), len(second)):
            total = blocks.by_forward_mode(first, second)
        else:
            total = blocks.by_rows(first, second)
        if x2 is None:
            total = (total + total.permute(1, 0, 3, 2)) / 2
        return total[:, :, 0, 0] if total.shape[2] == 1 else total

    def diagonal(self, x: Tensor) -> Tensor:
        """Return Θ̂(x_i, x_i) of each point, [n], or [n, k, k] of k outputs."""
        points = self._inputs(x, "x")
        total = self._at(points).diagonal(points)
        return total[:, 0, 0] if total.shape[1] == 1 else total

    def operator(self, x1: Tensor, x2: Tensor | None = None) -> TangentOperator:
        """Return v -> Θ̂(x1, x2)·v as a linear map; neither Θ̂ nor J is formed.

        Args:
            x1: points, [n1, ...].
            x2: points of the same kind; None for x1.

        Returns:
            The map: `matvec(v)`, or a call, and its transpose `T`.
        """
        first = self._inputs(x1, "x1")
        second = first if x2 is None else self._inputs(x2, "x2").to(first.device)
        return TangentOperator(self._at(first), first, second)

    def _inputs(self, x: Tensor, name: str) -> Tensor:
        if isinstance(x, Tensor) and not x.is_floating_point():
            return x  # tokens
        return as_finite_tensor(x, name, ndim=range(1, 7))

    def _at(self, x: Tensor) -> TangentBlocks:
        """Return the network in the points' dtype and on their device."""
        like = x if x.is_floating_point() else next(iter(self.params.values())).to(x.device)
        held = dict(self.network.named_parameters()) | dict(self.network.named_buffers())
        tangent = Tangent(
            network=self.network,
            params={name: value.detach().to(like) for name, value in self.params.items()},
            fixed={
                name: value.detach().to(like if value.is_floating_point() else like.device)
                for name, value in held.items()
                if name not in self.params
            },
        )
        budget = self.memory_budget
        if budget is None:
            budget = CPU_BUDGET if x.device.type == "cpu" else DEVICE_BUDGET
        precision = {name: value.to(like) for name, value in self.precision.items()}
        return TangentBlocks(tangent=tangent, precision=precision, sample=x[:2], budget=budget)


def empirical_ntk(
    network: nn.Module,
    params: Mapping[str, Tensor] | None = None,
    *,
    memory_budget: int | None = None,
) -> EmpiricalNTK:
    """Return Θ̂ = J(x, θ) Λ⁻¹ J(x', θ)ᵀ of one network, which tends to Θ with its width.

    With Λ the prior precision of `bayesnn.networks.prior_precision` it is the same in NTK and in
    standard parametrisation. Source: Jacot, Gabriel, Hongler, 2018, arXiv 1806.07572; on ways to
    compute it Novak, Sohl-Dickstein, Schoenholz, 2022, arXiv 2206.08720.

    Args:
        network: any module that treats points independently, [n, ...] -> [n, k]; a copy is taken,
            in evaluation mode and with the prior of `bayesnn.networks.with_prior`. Parameters
            that start at a constant are held unless the network has been given a prior for them.
        params: θ, by the names of its trainable parameters; the network's own if None.
        memory_budget: bytes of rows of J, or of activations, at a time; by default 256 MiB on a
            CPU and 2 GiB elsewhere. One point may take more.

    Returns:
        k(x1, x2=None) -> [n1, n2], or [n1, n2, k, k] of several outputs; `diagonal(x)`; and
        `operator(x1, x2=None)`, whose `matvec(v)` forms neither Θ̂ nor J.

    Raises:
        ValueError: a parameter without a prior, or names that are not the network's.

    Example:
        >>> import torch
        >>> from bayesnn.networks import Erf, mlp
        >>> net = mlp(in_features=2, out_features=1, width=8, depth=1, activation=Erf())
        >>> kernel, x = empirical_ntk(net), torch.eye(2)
        >>> v = torch.ones(2)
        >>> bool(torch.allclose(kernel(x) @ v, kernel.operator(x).matvec(v), atol=1e-5))
        True
    """
    if memory_budget is not None:
        check_count(memory_budget, "memory_budget")
    network = with_prior(network)
    precision = prior_precision(network)
    own = dict(network.named_parameters())
    given = {name: own[name] for name in precision} if params is None else dict(params)
    missing, unknown = sorted(precision.keys() - given), sorted(given.keys() - own)
    if missing or unknown:
        raise ValueError(
            f"params: expected the network's trainable parameters; missing {missing}, "
            f"unknown {unknown}."
        )
    return EmpiricalNTK(
        network=network,
        params={name: given[name].detach() for name in precision},
        precision=precision,
        memory_budget=memory_budget,
    )
