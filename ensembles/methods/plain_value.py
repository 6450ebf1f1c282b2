"""What most methods share: the trained part of a member is the network itself."""

from __future__ import annotations

from torch import Tensor, nn
from torch.func import functional_call

from bayesnn.networks import prior_mean
from ensembles.methods.protocol import Params, Shift


class PlainValue:
    """A method that trains f(x, θ) as it is."""

    def value(self, network: nn.Module, params: Params, shift: Shift, x: Tensor) -> Tensor:  # noqa: ARG002
        """Return f(x, θ)."""
        result: Tensor = functional_call(network, params, (x,))
        return result

    def linearised_at(self, params: Params, shift: Shift) -> Params:  # noqa: ARG002
        """Return θ."""
        return params


def mean_like(network: nn.Module, start: Params) -> Params:
    """Return the prior's mean, 0 but for parameters that start at a constant, stacked like θ₀."""
    return {name: value.expand_as(start[name]) for name, value in prior_mean(network).items()}
