"""What some members minimise: their draws, their targets, and their fixed function at the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bayesnn.networks import prior_precision
from bayesnn.seeds import seeded_generator
from ensembles.evaluation import shift_values
from ensembles.losses import Loss, SquaredError
from ensembles.methods.protocol import MemberDraw, Method, Params
from ensembles.trainers.problem import TrainingProblem

Drawn = tuple[MemberDraw, Tensor | None]


def draw_member(
    method: Method, network: nn.Module, y: Float[Tensor, "n k"], *, seed: int, number: int
) -> tuple[MemberDraw, Float[Tensor, "n k"] | None]:
    """Return the draws of one member: parameters, then ε ~ N(0, I) if targets are perturbed."""
    generator = seeded_generator(seed, number)
    draw = method.draw(network, generator=generator)
    if not method.perturbs_targets:
        return draw, None
    return draw, torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y)


def training_problem(
    network: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Float[Tensor, "n k"],
    *,
    method: Method,
    numbers: range,
    loss: Loss,
    seed: int,
    row_weight: Float[Tensor, " n"] | None = None,
    memory_budget: int | None = None,
) -> TrainingProblem:
    """Return the problem of the members `numbers`, drawn.

    For a squared error δ is taken off y, and a datum of weight v is one of noise σ/√v.

    Args:
        network: as for `fit_members`, like x, y, method, loss, seed and row_weight.
        x: inputs.
        y: targets.
        method: what is fixed, regularised and perturbed.
        numbers: the members' numbers.
        loss: of one datum.
        seed: of the draws.
        row_weight: of the data.
        memory_budget: bytes of activations at a time while δ is evaluated; None for what suits
            the device.

    Returns:
        The problem, its members stacked.
    """
    draws, noise = zip(
        *_in_threads(lambda i: draw_member(method, network, y, seed=seed, number=i), numbers),
        strict=True,
    )
    start = _stack([draw.start for draw in draws])
    shift = {
        # θ₀ is in both for many methods: it is held once
        name: start if params is draws[0].start else _stack([draw.shift[name] for draw in draws])
        for name, params in draws[0].shift.items()
    }
    targets = y.expand(len(numbers), -1, -1)
    fixed = shift_values(method, network, shift, x, memory_budget)
    if isinstance(loss, SquaredError):
        if method.perturbs_targets:
            std = loss.noise_std.to(y)
            std = std if row_weight is None else std * row_weight.rsqrt().unsqueeze(1)
            targets = targets + std * torch.stack(noise)
        targets, fixed = (targets if fixed is None else targets - fixed), None
    return TrainingProblem(
        network=network,
        value=method.value,
        linearised_at=method.linearised_at,
        inputs=x,
        targets=targets,
        offset=fixed,
        row_weight=row_weight,
        loss=loss,
        start=start,
        center=method.center(network, start),
        shift=shift,
        precision=prior_precision(network),
    )


def _in_threads(draw: Callable[[int], Drawn], numbers: range) -> list[Drawn]:
    """Return the draws of all members; a member's stream is its own, so threads cannot mix them."""
    with ThreadPoolExecutor(max_workers=min(torch.get_num_threads(), len(numbers))) as pool:
        return list(pool.map(draw, numbers))


def started_from(
    problem: TrainingProblem, numbers: range, start: Mapping[int, Params]
) -> TrainingProblem:
    """Return the problem with training started elsewhere where `start` says so."""
    params = {name: value.clone() for name, value in problem.start.items()}
    for row, number in enumerate(numbers):
        for name, value in start.get(number, {}).items():
            params[name][row] = value.to(params[name])
    return replace(problem, start=params)


def _stack(parts: list[Params]) -> Params:
    return {name: torch.stack([part[name] for part in parts]) for name in parts[0]}
