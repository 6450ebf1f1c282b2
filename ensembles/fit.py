"""Members drawn and trained side by side."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from bayesnn.networks import prior_precision
from bayesnn.seeds import seeded_generator
from ensembles.checkpoint import Checkpoint, open_checkpoint
from ensembles.chunks import train_in_chunks
from ensembles.digest import digest
from ensembles.evaluation import over_members, shift_values
from ensembles.losses import Loss, SquaredError
from ensembles.methods.protocol import MemberDraw, Method, Params, Shift
from ensembles.preparation import prepared
from ensembles.progress import Callback, progress_bar
from ensembles.trainers.adam import Adam
from ensembles.trainers.gauss_newton import SMALLEST_BLOCK, GaussNewton
from ensembles.trainers.member_size import member_size
from ensembles.trainers.monitor import Monitor
from ensembles.trainers.problem import Trained, Trainer, TrainingProblem

CPU_BUDGET = 2**28  # so many small members share the cost of an operation
CPU_ALONE = 2**24  # bytes of a member that fills the cache by itself, and gains from no others
DEVICE_BUDGET = 2**33
SECOND_ORDER_ROWS = 512  # points times outputs up to which the second-order trainer is used

Drawn = tuple[MemberDraw, Tensor | None]
Part = tuple[Shift, Trained, Tensor]  # a chunk: its fixed function, and which members are finite


@dataclass(frozen=True, kw_only=True)
class FittedMembers:
    """Trained members and what their fixed function needs, stacked.

    Attributes:
        params: θ.
        shift: the parameter sets of the fixed function, by name.
        members: the members' numbers; those that failed are missing.
        converged: which of them met the trainer's criterion.
        n_steps: most steps that were taken.
    """

    params: Params
    shift: Shift
    members: tuple[int, ...]
    converged: tuple[bool, ...]
    n_steps: int


def fit_members(
    network: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Float[Tensor, "n k"],
    *,
    method: Method,
    trainer: Trainer | None,
    n_members: int,
    loss: Loss,
    seed: int,
    row_weight: Float[Tensor, " n"] | None = None,
    callback: Callback | None = None,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    memory_budget: int | None = None,
    verbose: bool = False,
    first: int = 0,
    start: Mapping[int, Params] | None = None,
) -> FittedMembers:
    """Draw and train the members, in chunks that fit a memory budget.

    Args:
        network: in evaluation mode, on x's device and of x's dtype.
        x: inputs, as the network sees them.
        y: targets, in the network's units.
        method: what is fixed, regularised and perturbed.
        trainer: None for Gauss–Newton on small data and Adam on larger.
        n_members: number of members.
        loss: of one datum, in the network's units.
        seed: member i depends on it and on i alone.
        row_weight: what multiplies the loss of each datum, positive; None for 1.
        callback: hears of every step, a `Progress`; where it returns True the members that it
            was told of stay as they are, and the next ones are trained.
        checkpoint: a folder or an fsspec address, or `checkpoint_at(...)`. A fit that was
            interrupted and is called again goes on from there, and ends bit for bit as if it had
            not been; one that was finished is read. Nothing is deleted in the end.
        memory_budget: bytes that members trained at once may take; None for the trainer's, or
            what suits the device. Where memory runs out nevertheless the chunks are halved.
        verbose: whether to draw a progress bar on stderr, if that is a terminal.
        first: number of the first member that is trained; the others exist already.
        start: where training starts, by the member's number, in place of θ₀; the draws, and with
            them the regulariser's centre, the fixed function and ε, stay what they are.

    Returns:
        The members that hold finite numbers; a warning names the others.

    Raises:
        FloatingPointError: every member diverged.
        ValueError: the checkpoint belongs to another fit, another process is at it, or it cannot
            be written; the network has no
            prior, no linear read-out where the method needs one, or is random.
        torch.OutOfMemoryError: not even one member fits.
    """
    network = prepared(network, method, x)
    trainer = trainer or default_trainer(x.shape[0], y.shape[1], loss)
    each = trainer.bytes_per_member(member_size(network, method, x, y.shape[1]))
    given_budget = memory_budget or trainer.memory_budget
    budget = given_budget or _default_budget(x.device, each)

    def problem_of(numbers: range) -> TrainingProblem:
        problem = training_problem(
            network, x, y, method=method, numbers=numbers, loss=loss, seed=seed,
            row_weight=row_weight,
            # of few points at a time δ would round otherwise
            memory_budget=None if given_budget is None else max(SMALLEST_BLOCK, given_budget),
        )  # fmt: skip
        return problem if start is None else started_from(problem, numbers, start)

    def train(numbers: range, monitor: Monitor) -> tuple[Trained, Part]:
        problem = problem_of(numbers)
        trained = trainer.train(problem, seed=seed, monitor=monitor)
        return trained, _part(problem, trained)

    with ExitStack() as until_the_end:
        kept = None
        if checkpoint is not None:
            identity = {
                "network": _network_digest(network),
                "X": digest(x), "y": digest(y), "sample weights": digest(row_weight),
                "method": digest(method), "trainer": digest(trainer), "loss": digest(loss),
                "number of members": digest(n_members), "seed": digest(seed),
                "device": digest(x.device.type), "first member": digest(first),
                "start": digest(start),
            }  # fmt: skip
            opened = open_checkpoint(checkpoint, identity, members=range(first, n_members))
            kept = until_the_end.enter_context(opened)
        draw = until_the_end.enter_context(progress_bar(shown=verbose))
        parts = train_in_chunks(
            train,
            lambda numbers, trained: _part(problem_of(numbers), trained),
            first=first,
            n_members=n_members,
            at_once=budget // each,
            device=x.device,
            tell=[draw] if callback is None else [draw, callback],
            checkpoint=kept,
        )
    return _gather(parts, first)


def _default_budget(device: torch.device, each: int) -> int:
    if device.type != "cpu":
        return DEVICE_BUDGET
    return 1 if each > CPU_ALONE else CPU_BUDGET


def default_trainer(n_points: int, n_outputs: int, loss: Loss) -> Trainer:
    """Return Gauss–Newton for squares of up to 512 points times outputs, else Adam."""
    if n_points * n_outputs <= SECOND_ORDER_ROWS and isinstance(loss, SquaredError):
        return GaussNewton()
    batch_size = 256 if n_points < 20_000 else 1024
    return Adam(steps=max(2000, min(20 * n_points // batch_size, 5000)), batch_size=batch_size)


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


def _finite(problem: TrainingProblem, params: Params) -> Bool[Tensor, " m"]:
    """Return which members have finite parameters and finite values at (a thousand) data."""
    x = problem.inputs[:1000]
    with torch.no_grad():
        values = over_members(
            lambda p, s: problem.value(problem.network, p, s, x),
            params,
            problem.shift,
            network=problem.network,
        )
    each = [value.flatten(1).isfinite().all(1) for value in (values, *params.values())]
    return torch.stack(each).all(0)


def _part(problem: TrainingProblem, trained: Trained) -> Part:
    finite = _finite(problem, trained.params)
    # dictionaries of its own, which `_joined` may empty
    shift = {name: dict(params) for name, params in problem.shift.items()}
    return shift, replace(trained, params=dict(trained.params)), finite


def _network_digest(network: nn.Module) -> str:
    """Return a digest of what members take from the network: all but its trained values."""
    params = dict(network.named_parameters())
    frozen = {name: value for name, value in params.items() if not value.requires_grad}
    held = [dict(network.named_buffers()), frozen, prior_precision(network)]
    described = re.sub(r" at 0x[0-9a-f]+", "", repr(network))  # addresses change from run to run
    return digest([described, str(type(network)), *held])


def _gather(chunks: list[Part], first: int) -> FittedMembers:
    finite = torch.cat([good for *_, good in chunks])
    failed = [i for i, good in enumerate(finite.tolist(), first) if not good]
    if len(failed) == len(finite):
        raise FloatingPointError(
            "training: every member diverged to NaN or infinity; scale the data, lower the "
            "learning rate, or use bounded activations."
        )
    if failed:
        warnings.warn(
            f"training: members {failed} of {len(finite)} diverged and are left out; scale the "
            "data or lower the learning rate.",
            RuntimeWarning,
            stacklevel=4,
        )

    keep = finite if failed else None
    converged = torch.cat([trained.converged.to(finite) for _, trained, _ in chunks])[finite]
    return FittedMembers(
        params=_joined([trained.params for _, trained, _ in chunks], keep),
        shift={name: _joined([shift[name] for shift, *_ in chunks], keep) for name in chunks[0][0]},
        members=tuple(i for i, good in enumerate(finite.tolist(), first) if good),
        converged=tuple(converged.tolist()),
        n_steps=max(trained.n_steps for _, trained, _ in chunks),
    )


def _joined(parts: list[Params], keep: Bool[Tensor, " m"] | None) -> Params:
    """Return the chunks' tensors as one each, and empty the chunks: memory holds few of both."""
    joined = {}
    for name in tuple(parts[0]):
        pieces = [part.pop(name) for part in parts]
        whole = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
        del pieces
        joined[name] = whole if keep is None else whole[keep]
    return joined


def _stack(parts: list[Params]) -> Params:
    return {name: torch.stack([part[name] for part in parts]) for name in parts[0]}
