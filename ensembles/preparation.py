"""A network made ready for a fit: its prior, its read-out and its values, checked once."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bayesnn.networks import draw_initial_params, with_prior, with_readout
from ensembles.methods.protocol import Method


def prepared(network: nn.Module, method: Method, x: Tensor) -> nn.Module:
    """Return a copy of a network that carries its prior, and its read-out where that is needed.

    Args:
        network: on x's device and of x's dtype.
        method: says whether it needs the read-out.
        x: inputs; the first three are used.

    Returns:
        The copy, in evaluation mode.

    Raises:
        ValueError: no parameters, a parameter without a prior, batch normalisation, a network that
            draws random numbers in evaluation mode, or one that is not linear in its read-out, if
            that matters.

    Example:
        >>> from bayesnn.networks import readout_names
        >>> from ensembles import ntkgp_param
        >>> network = nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 1))
        >>> readout_names(prepared(network, ntkgp_param(), torch.ones(1, 2)))
        ('3.weight', '3.bias')
    """
    network = with_readout(network, x) if method.needs_readout else with_prior(network)
    if not any(p.requires_grad for p in network.parameters()):
        raise ValueError(
            "network: expected parameters that can be trained, found none (requires_grad is False "
            "for all, or all start at a constant); give it some, or a precision= to some."
        )
    params = draw_initial_params(network, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        # a draw may overflow: that is for the fit to say, of the member that does
        first, second = (functional_call(network, params, (x[:3],)).nan_to_num() for _ in range(2))
    tolerance = math.sqrt(torch.finfo(first.dtype).eps)  # sums on a GPU may differ in their order
    if not float((first - second).norm()) <= tolerance * float(first.norm()):
        raise ValueError(
            "network: expected the same values for the same x and parameters, got others at the "
            "second call; let it draw random numbers in training mode only (torch.nn.Dropout, not "
            "torch.nn.functional.dropout without training=self.training) and keep no state."
        )
    return network
