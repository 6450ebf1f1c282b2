"""Scales of the network's prior, and the noise, from the infinite-width marginal likelihood."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bayesnn.gp import maximise_marginal_likelihood
from bayesnn.kernels import ntk
from bayesnn.networks import Erf, mlp
from bayesnn.seeds import seeded_generator

PLACE = (0, 11)  # of the random stream that draws rows
START = 0.8  # of σ, in standard deviations of the delays


@dataclass(frozen=True, kw_only=True)
class Prior:
    """Scales for standardised data.

    Attributes:
        weight_std: of all layers' weights, in NTK parametrisation.
        bias_std: of all layers' biases.
        noise_std: σ, where noise depends on x that about which it varies.
        log_evidence: log marginal likelihood a row.
        rows: how many rows chose.
    """

    weight_std: float
    bias_std: float
    noise_std: float
    log_evidence: float
    rows: int


def network(prior: Prior, *, outputs: int, width: int, depth: int, seed: int) -> nn.Module:
    """Return the erf MLP that all neural methods share."""
    return mlp(
        in_features=8, out_features=outputs, width=width, depth=depth, activation=Erf(),
        weight_std=prior.weight_std, bias_std=prior.bias_std, generator=seeded_generator(seed),
    )  # fmt: skip


def fit_prior(
    x: Float[Tensor, "n 8"], y: Float[Tensor, " n"], *, depth: int, rows: int, seed: int
) -> Prior:
    """Choose weight, bias and noise scales by the NTK's marginal likelihood on random rows.

    Args:
        x: standardised features of the training rows.
        y: standardised targets.
        depth: hidden layers.
        rows: how many rows are drawn.
        seed: of the draw.

    Returns:
        The scales.
    """
    taken = random_rows(len(x), rows, seed=seed)
    start = mlp(
        in_features=8, out_features=1, width=2, depth=depth, activation=Erf(),
        weight_std=1.0, bias_std=1.0, generator=seeded_generator(seed),
    )  # fmt: skip
    found = maximise_marginal_likelihood(ntk(start), x[taken], y[taken], noise_std=START)
    scales = found.kernel.hyperparameters
    return Prior(
        weight_std=float(next(v for k, v in scales.items() if k.endswith("weight_std"))),
        bias_std=float(next(v for k, v in scales.items() if k.endswith("bias_std"))),
        noise_std=found.noise_std,
        log_evidence=found.log_marginal_likelihood / len(taken),
        rows=len(taken),
    )


def random_rows(n: int, size: int, *, seed: int) -> Tensor:
    """Return `size` of n row numbers, at most all, ascending."""
    return torch.randperm(n, generator=seeded_generator(seed, *PLACE))[:size].sort().values
