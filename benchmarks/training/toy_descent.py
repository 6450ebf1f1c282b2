"""Gradient descent on the paper's toy, member after member and side by side."""

from __future__ import annotations

import copy
import statistics
import sys
import time

import torch
from torch import nn

from benchmarks.training.toy import LEARNING_RATE, MEMBERS, POINTS, STEPS, Toy
from benchmarks.training.toy_outcome import Outcome
from ensembles.methods.protocol import Params
from ensembles.trainers.execution import Execution

LOOP_STEPS, LOOP_WARM_UP, LOOP_MEMBERS = 500, 50, 2


def plain_loop(toy: Toy) -> tuple[Outcome, list[Params]]:
    """Time gradient descent of one network after another, in eager mode, and scale it."""
    problem, seconds, ends = toy.problem, [], []
    center = problem.center
    assert center is not None
    for i in range(LOOP_MEMBERS):
        network: nn.Module = copy.deepcopy(problem.network)
        network.load_state_dict({name: value[i] for name, value in problem.start.items()})
        params = dict(network.named_parameters())
        # θ ← θ − w(θ − c): the regulariser's step, which automatic differentiation need not see
        pulls = [(p, center[name][i], toy.shrink[name]) for name, p in params.items()]
        targets = problem.targets[i]
        for step in range(LOOP_STEPS + LOOP_WARM_UP):
            if step == LOOP_WARM_UP:
                toy.setting.wait()
                began = time.perf_counter()
            loss = 0.5 * ((network(problem.inputs) - targets) ** 2).mean()
            gradients = torch.autograd.grad(loss, [p for p, *_ in pulls])
            with torch.no_grad():
                for (p, c, w), gradient in zip(pulls, gradients, strict=True):
                    p.lerp_(c, w).sub_(gradient, alpha=LEARNING_RATE)
        toy.setting.wait()
        seconds.append((time.perf_counter() - began) / LOOP_STEPS)
        ends.append({name: p.detach() for name, p in params.items()})
    each = statistics.median(seconds)
    return Outcome(
        what=f"gradient descent, a loop over members ({1e3 * each:.2f} ms a step of one)",
        steps=f"{toy.steps:,} (scaled from {LOOP_STEPS})",
        seconds=each * toy.steps * MEMBERS,
    ), ends


def side_by_side(toy: Toy, steps: int) -> tuple[Outcome, Params]:
    """Run gradient descent of all members at once; on a GPU as a CUDA graph."""
    problem, shrink = toy.problem, toy.shrink
    center = problem.center
    assert center is not None
    leaves = {name: v.clone().requires_grad_() for name, v in problem.start.items()}

    def step() -> None:
        residual = toy.values(leaves) - problem.targets
        gradients = torch.autograd.grad(0.5 * (residual**2).sum() / POINTS, list(leaves.values()))
        with torch.no_grad():
            for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True):
                leaf.lerp_(center[name], shrink[name]).sub_(gradient, alpha=LEARNING_RATE)

    run = Execution().runner(step, toy.setting.device)
    toy.setting.wait()
    began = time.perf_counter()
    for number in range(1, steps + 1):
        run()
        if number % 5000 == 0 and toy.setting.device.type == "cpu":
            print(f"  {number:,} steps, {time.perf_counter() - began:.0f} s", file=sys.stderr)
    toy.setting.wait()
    seconds = time.perf_counter() - began
    params = {name: leaf.detach() for name, leaf in leaves.items()}
    return Outcome(
        what="gradient descent, members side by side (vmap)", steps=f"{steps:,}", seconds=seconds,
        objective=toy.objective(params), accuracy=toy.accuracy(params),
    ), params  # fmt: skip


def agreement(toy: Toy, loop_ends: list[Params]) -> Outcome:
    """Compare the objectives of the loop's members with those that ran side by side."""
    steps = LOOP_STEPS + LOOP_WARM_UP
    _, params = side_by_side(toy, steps)
    first = slice(0, LOOP_MEMBERS)
    ends = {name: params[name].clone() for name in params}
    for i, end in enumerate(loop_ends):
        for name, value in end.items():
            ends[name][i] = value
    apart = (toy.objective(ends, first) / toy.objective(params, first) - 1).abs().max()
    return Outcome(
        what=f"largest difference of the two ways' objectives: {float(apart):.1e} of them",
        steps=str(steps),
    )


def scaled_side_by_side(toy: Toy, objective: float) -> Outcome:
    """Time a part of the steps side by side, and take their end from a run of all of them."""
    side_by_side(toy, LOOP_WARM_UP)
    timed, _ = side_by_side(toy, LOOP_STEPS)
    assert timed.seconds is not None
    return Outcome(
        what="gradient descent, members side by side (vmap)",
        steps=f"{STEPS:,} (scaled from {LOOP_STEPS})",
        seconds=timed.seconds * STEPS / LOOP_STEPS,
        objective=torch.full((MEMBERS,), objective, dtype=torch.float64),
        means_alone=True,
    )
