"""Posteriors of one network's parameters: dropout and mean field."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from bayesnn.inference.mc_dropout import Params, UnitDropout, draw_functions
from bayesnn.inference.mean_field import MeanFieldFit
from bayesnn.networks import draw_initial_params
from bayesnn.seeds import seeded_generator
from benchmarks.image_classes.functions import CLASSES, Candidate, Functions, Training
from ensembles.trainers.adam import STEP
from ensembles.trainers.schedules import cosine

MASKS = 8  # of dropout in a batch, each for its share of the images


def mc_dropout_candidates() -> tuple[Candidate, ...]:
    """Return MC dropout by rate and scale of the weights."""
    return tuple(
        Candidate(
            said=f"rate {rate:g}, weight_std {weight_std:g}",
            fit=partial(fit_mc_dropout, rate=rate, weight_std=weight_std),
        )
        for weight_std, rate in ((1.5, 0.1), (1.5, 0.25), (2.5, 0.1), (2.5, 0.25))
    )


def mean_field_candidates() -> tuple[Candidate, ...]:
    """Return mean field by the weight of the divergence and the scale of the prior."""
    return tuple(
        Candidate(
            said=f"κ {kl_weight:g}, weight_std {weight_std:g}",
            fit=partial(fit_mean_field, kl_weight=kl_weight, weight_std=weight_std),
        )
        for weight_std, kl_weight in ((1.5, 1.0), (1.5, 0.1), (2.5, 1.0), (2.5, 0.1))
    )


def fit_mc_dropout(training: Training, *, rate: float, weight_std: float) -> Functions:
    """Train under dropout of channels; functions are draws of its masks."""
    network = training.network(weight_std)
    dropout = UnitDropout(units=_inner_units(network), rate=rate)
    params = trained(network, training, dropout)

    def functions(x: Tensor) -> Tensor:
        draws = draw_functions(
            lambda p: functional_call(network, p, (x,)), params, dropout, seed=training.seed
        )
        return _first(draws, training.budget.draws)

    return functions


def fit_mean_field(training: Training, *, kl_weight: float, weight_std: float) -> Functions:
    """Fit independent Gaussians, by as many steps and images as the others."""
    network = training.network(weight_std).to(training.x.device)
    start = _start(network, training)
    fit = MeanFieldFit(
        start, prior_std=dict.fromkeys(start, 1.0), kl_weight=kl_weight, seed=training.seed
    )
    rate, total = _rate(start), len(training.x)
    for progress, rows in _batches(training):
        x, y = training.x[rows], training.y[rows]

        def energy(params: Params, x: Tensor = x, y: Tensor = y) -> Tensor:
            loss = nn.functional.cross_entropy(functional_call(network, params, (x,)), y)
            return total * loss

        fit.step(energy, rate * cosine()(progress))
    found = fit.posterior()

    def functions(x: Tensor) -> Tensor:
        draws = found.draw_functions(
            lambda p: functional_call(network, p, (x,)), seed=training.seed
        )
        return _first(draws, training.budget.draws)

    return functions


def trained(network: nn.Sequential, training: Training, dropout: UnitDropout) -> Params:
    """Return parameters that minimise cross-entropy + ‖θ‖²/2N, by the ensembles' schedule."""
    network.to(training.x.device)
    params = {n: p.requires_grad_() for n, p in _start(network, training).items()}
    optimiser = torch.optim.Adam(params.values(), lr=(rate := _rate(params)))
    masks = seeded_generator(training.seed, 8)
    for progress, rows in _batches(training):
        for group in optimiser.param_groups:
            group["lr"] = rate * cosine()(progress)
        parts = len(rows) // MASKS * MASKS  # the same number of images for each mask
        x = training.x[rows[:parts]].unflatten(0, (MASKS, -1))
        drawn = [dropout.draw(params, generator=masks) for _ in range(MASKS)]
        if dropout.rate:
            stacked = {name: torch.stack([one[name] for one in drawn]) for name in params}
            values = vmap(lambda p, x: functional_call(network, p, (x,)))(stacked, x)
        else:
            values = functional_call(network, params, (x.flatten(0, 1),))
        loss = penalised(
            values.reshape(-1, CLASSES), training.y[rows[:parts]], params, len(training.x)
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return {name: value.detach() for name, value in params.items()}


def penalised(values: Tensor, y: Tensor, params: Params, n: int) -> Tensor:
    """Return the cross-entropy of a batch plus ‖θ‖²/2n, of the prior N(0, I) and n images."""
    square = sum((p.square().sum() for p in params.values()), start=values.new_zeros(()))
    return nn.functional.cross_entropy(values, y) + square / (2 * n)


def _start(network: nn.Module, training: Training) -> Params:
    drawn = draw_initial_params(network, generator=seeded_generator(training.seed, 6))
    return {name: value.to(training.x) for name, value in drawn.items()}


def _rate(params: Params) -> float:
    return STEP / math.sqrt(sum(value.numel() for value in params.values()))


def _batches(training: Training) -> Iterator[tuple[float, Tensor]]:
    """Yield the part of the steps that is done, and the rows of the next."""
    budget, order = training.budget, seeded_generator(training.seed, 7)
    waiting = torch.empty(0, dtype=torch.long)
    for step in range(budget.steps):
        if len(waiting) < budget.batch_size:
            waiting = torch.cat([waiting, torch.randperm(len(training.x), generator=order)])
        yield step / budget.steps, waiting[: budget.batch_size]
        waiting = waiting[budget.batch_size :]


def _inner_units(network: nn.Sequential) -> dict[str, tuple[int, ...]]:
    """Return the channels that each layer but the first takes in."""
    weights = [name for name, value in network.named_parameters() if value.ndim > 1]
    return dict.fromkeys(weights[1:], (1,))


def _first(draws: Iterator[Tensor], n: int) -> Tensor:
    return torch.stack([next(draws) for _ in range(n)])
