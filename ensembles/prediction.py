"""A fitted ensemble as functions of its inputs, evaluated in chunks that fit a memory budget."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ensembles.evaluation import chunk_budget, member_values
from ensembles.memory import bytes_per_point, slices_within
from ensembles.methods.protocol import Method, Params, Shift

JOINT_BUDGET = 2**30  # bytes of a covariance and its members, unless the user says otherwise

# bytes a point of one member, by network and what it is called on: measured once
_measured: weakref.WeakKeyDictionary[nn.Module, dict[object, int]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True)
class EnsembleFunction:
    """The functions f̃_m of all members, x -> [m, n, k], for x in the user's units.

    Attributes:
        network: the module; its own parameters are not used.
        method: how parameters give f̃.
        params: θ, stacked.
        shift: the parameter sets of the fixed function, stacked.
        in_units: x and a dtype -> x as the network sees it, in that dtype.
    """

    network: nn.Module
    method: Method
    params: Params
    shift: Shift
    in_units: Callable[[Tensor, torch.dtype], Tensor]

    def __call__(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "m n k"]:
        """Return the members' values at all points at once, without gradients."""
        one = next(iter(self.params.values()))
        with torch.no_grad():
            x = self.in_units(x.to(one.device), one.dtype)
            return member_values(self.method, self.network, self.params, self.shift, x)

    def chunks(
        self, batches: Iterable[Tensor], *, memory_budget: int | None = None
    ) -> Iterator[Float[Tensor, "m _ k"]]:
        """Yield the members' values, chunk after chunk of the points of all batches.

        Args:
            batches: points, in parts of any lengths.
            memory_budget: bytes that tensors may take, over all members; by default 64 MiB of
                activations on a CPU and 1 GiB elsewhere. A single point may take more.

        Yields:
            Values of one chunk, in the network's units.
        """
        one = next(iter(self.params.values()))
        budget = chunk_budget(one, memory_budget)
        for batch in batches:
            if len(batch) == 1:  # it cannot be divided
                yield self(batch)
                continue
            each = len(one) * self._bytes_each(batch, budget)
            left = budget
            if memory_budget is not None:  # what all points share: scaled weights, above all
                left = max(1, budget - len(one) * self._bytes_each(batch[:1], budget))
            for chunk in slices_within(len(batch), each, left):
                yield self(batch[chunk])

    def _bytes_each(self, x: Tensor, budget: int) -> int:
        """Return the bytes that one member needs a point."""
        known = _measured.setdefault(self.network, {})
        key = (type(self.method), x.shape[1:], x.dtype, budget, len(x) == 1)
        if key not in known:
            alone = EnsembleFunction(
                network=self.network,
                method=self.method,
                params=_first(self.params),
                shift={name: _first(params) for name, params in self.shift.items()},
                in_units=self.in_units,
            )
            known[key] = bytes_per_point(lambda p: _with_moments(alone(p)), x, enough=budget)
        return known[key]


def _with_moments(values: Tensor) -> tuple[Tensor, ...]:
    """Return as much more as a summary of the values takes."""
    return values, values.double(), values.double()


def _first(params: Params) -> Params:
    return {name: value[:1] for name, value in params.items()}


def check_covariance_fits(m: int, n: int, k: int, itemsize: int, budget: int) -> None:
    """Raise ValueError where a covariance of n points and k outputs exceeds the budget.

    It is held once in float64 beside its own dtype while its units are changed, the members thrice.
    """
    needed = k * n * n * (8 + 2 * itemsize) + 3 * m * n * k * itemsize
    if needed > budget:
        raise ValueError(
            f"covariance: {n} points or more and {k} outputs need {needed:,} bytes, the memory "
            f"budget is {budget:,}; ask for fewer points, or raise memory_budget."
        )


def member_covariance(members: Float[Tensor, "m n k"]) -> Float[Tensor, "k n n"]:
    """Return the unbiased covariance over members of the values at all points, of each output.

    It is DᵀD/(m − 1) with D the members less their mean: centred first, so that it is right
    however large the mean is. D is made small before the mean is taken off.

    Args:
        members: at least two members' values.

    Returns:
        One symmetric, positive semi-definite matrix an output, without noise.
    """
    deviations = (members - members[0]).permute(2, 0, 1)
    deviations = deviations - deviations.mean(1, keepdim=True)
    return deviations.mT @ deviations / (members.shape[0] - 1)
