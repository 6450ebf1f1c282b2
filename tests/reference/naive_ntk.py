"""The empirical NTK entry by entry: a loop over pairs of points and of outputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bayesnn.networks import prior_precision


def naive_ntk(network: nn.Module, x1: Tensor, x2: Tensor) -> Tensor:
    """Return Σ_p ∂f_k(x)/∂θ_p · ∂f_l(x')/∂θ_p / λ_p, [n1, n2, k, l]."""
    precision = prior_precision(network)
    flat = torch.cat([value.flatten() for value in precision.values()])
    leaves = [dict(network.named_parameters())[name] for name in precision]

    def gradients(x: Tensor) -> list[list[Tensor]]:
        found = []
        for point in x:
            values = network(point.unsqueeze(0)).flatten()
            found.append([
                torch.cat([g.flatten() for g in torch.autograd.grad(
                    value, leaves, retain_graph=True, allow_unused=True, materialize_grads=True)])
                for value in values
            ])  # fmt: skip
        return found

    first, second = gradients(x1), gradients(x2)
    return torch.stack([
        torch.stack([
            torch.stack([torch.stack([(g / flat) @ h for h in its]) for g in mine])
            for its in second
        ])
        for mine in first
    ])  # fmt: skip
