"""What the steps are compared with: a plain loop over networks, and members vmapped in JAX."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bayesnn.networks import draw_initial_params
from bayesnn.seeds import seeded_generator
from ensembles.methods.protocol import Params
from ensembles.trainers.problem import TrainingProblem
from ensembles.trainers.schedules import cosine


def plain_loop(
    network: nn.Module, n_members: int, batch: Callable[[], tuple[Tensor, Tensor]]
) -> Callable[[Sequence[int]], None]:
    """Return one step of some members as a user writes it: one network after another.

    torch.optim.Adam in eager mode on a half mean squared error, no regulariser.
    """
    members = []
    for number in range(n_members):
        member = copy.deepcopy(network)
        start = draw_initial_params(member, generator=seeded_generator(0, number))
        member.load_state_dict(start, strict=False)
        members.append((member, torch.optim.Adam(member.parameters(), lr=1e-3)))

    def step(numbers: Sequence[int]) -> None:
        x, y = batch()
        for member, optimiser in (members[number] for number in numbers):
            optimiser.zero_grad()
            loss = 0.5 * (member(x) - y).square().sum(-1).mean()
            loss.backward()
            optimiser.step()

    return step


def train_alone(problem: TrainingProblem, steps: int) -> Params:
    """Return the first member by torch.optim.Adam, its objective written out, Λ = 1.

    Full batch, with the rates of `adam()`.
    """
    theta = {k: v[0].detach().clone().requires_grad_() for k, v in problem.start.items()}
    n = len(problem.inputs)
    peak = 8 / math.sqrt(sum(value.numel() for value in theta.values()))
    optimiser = torch.optim.Adam(list(theta.values()), lr=peak)
    schedule = cosine()
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = peak * schedule(step / steps)
        values = functional_call(problem.network, theta, (problem.inputs,))
        objective = problem.loss(values, problem.targets[0]).mean()
        if problem.center is not None:
            distance = sum((theta[k] - problem.center[k][0]).square().sum() for k in theta)
            objective = objective + problem.loss.pull / (2 * n) * distance
        optimiser.zero_grad()
        objective.backward()
        optimiser.step()
    return {name: value.detach().unsqueeze(0) for name, value in theta.items()}


def jax_seconds(
    n_members: int, x: Tensor, y: Tensor, *, width: int = 512, repeats: int = 10
) -> tuple[float, str] | str:
    """Return the median time of a step of the same MLPs and Adam, vmapped and jitted in JAX.

    Returns:
        The time and the device's kind, or why there is none.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        import jax
        import jax.numpy as jnp
    except ImportError:
        return "not installed"
    jax.config.update("jax_default_matmul_precision", "highest")  # float32 products, as here

    def network(params: list[tuple[jax.Array, jax.Array]], inputs: jax.Array) -> jax.Array:
        values = inputs
        for i, (weight, bias) in enumerate(params):
            values = 1.5 / math.sqrt(values.shape[-1]) * values @ weight + 0.05 * bias
            values = jax.scipy.special.erf(values) if i < 2 else values
        return values

    def loss(params: list[tuple[jax.Array, jax.Array]]) -> jax.Array:
        return 0.5 * jnp.mean((network(params, inputs) - targets) ** 2)

    @jax.jit
    def step(count: jax.Array, params: object, mean: object, square: object) -> object:
        gradient = jax.vmap(jax.grad(loss))(params)
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, gradient)
        square = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, square, gradient)
        rate = 1e-3 * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        params = jax.tree.map(
            lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-8), params, mean, square
        )
        return count + 1, params, mean, square

    try:
        inputs, targets = jnp.asarray(x.cpu().numpy()), jnp.asarray(y.cpu().numpy())
        keys = jax.random.split(jax.random.PRNGKey(0), 3)
        sizes = [(x.shape[1], width), (width, width), (width, 1)]
        params = [
            (jax.random.normal(key, (n_members, a, b)), jnp.zeros((n_members, b)))
            for key, (a, b) in zip(keys, sizes, strict=True)
        ]
        zeros = jax.tree.map(jnp.zeros_like, params)
        state = (jnp.ones(()), params, zeros, zeros)
        times = []
        for _ in range(repeats + 3):
            began = time.perf_counter()
            state = jax.block_until_ready(step(*state))
            times.append(time.perf_counter() - began)
        return sorted(times[3:])[repeats // 2], jax.default_backend()
    except RuntimeError as error:
        return f"failed: {str(error).splitlines()[0]:.80}"
