"""Activations."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from bayesnn.kernels.activations import Expectation
from bayesnn.kernels.rules.rule import Hyperparameters, Rule
from bayesnn.kernels.state import KernelState, Means


def elementwise_rule(expectation: Expectation) -> Rule:
    """Return the rule K' = E[φ(u)φ(v)] and Θ' = E[φ'(u)φ'(v)] Θ, for Gaussian units u, v."""

    def rule(state: KernelState, _: Hyperparameters) -> KernelState:
        if not state.gaussian:
            raise ValueError(
                "network: an activation has a kernel rule where its input is Gaussian: after a "
                "linear layer, with at most residual sums, pooling and layer normalisation between."
            )
        state = state.with_exact_diagonal()
        value, slope = expectation(state.nngp, *state.outer())
        var1, var2 = state.own(lambda var: expectation(var, *state.outer_self(var))[0])
        ntk = None if state.ntk is None else slope * state.ntk
        return replace(
            state, nngp=value, ntk=ntk, var1=var1, var2=var2, gaussian=False,
            means=partial(_means, expectation, state),
        )  # fmt: skip

    return rule


def _means(expectation: Expectation, before: KernelState) -> Means:
    """Return E[φ(u)] E[φ(v)], what E[φ(u)φ(v)] would be without a covariance."""

    def product(covariance: Tensor, variances: tuple[Tensor, Tensor]) -> Tensor:
        return expectation(torch.zeros_like(covariance), *variances)[0]

    var1 = product(before.var1, before.outer_self(before.var1))
    same = before.var2 is before.var1
    return (
        product(before.nngp, before.outer()),
        var1,
        var1 if same else product(before.var2, before.outer_self(before.var2)),
    )
