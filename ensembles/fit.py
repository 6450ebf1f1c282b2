"""Members drawn and trained side by side."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import ExitStack

from jaxtyping import Float
from torch import Tensor, nn

from bayesnn.executors import Executor
from bayesnn.networks import prior_precision
from ensembles.checkpoint import Checkpoint, open_checkpoint
from ensembles.chunks import train_in_chunks
from ensembles.digest import digest
from ensembles.gathered import FittedMembers, Gathered
from ensembles.losses import Loss, SquaredError
from ensembles.member_training import MemberTraining
from ensembles.methods.protocol import Method, Params
from ensembles.preparation import prepared
from ensembles.progress import Callback, progress_bar
from ensembles.spread import train_elsewhere
from ensembles.trainers.adam import Adam
from ensembles.trainers.gauss_newton import GaussNewton
from ensembles.trainers.problem import Trainer

SECOND_ORDER_ROWS = 512  # points times outputs up to which the second-order trainer is used


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
    executor: Executor | None = None,
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
        executor: where chunks of members are trained, such as `local_executor(2)`; None for here.
            The draws are the same bit for bit, and in float64 the results to 1e-10 of their size.
            `memory_budget` is each worker's then, and whom the callback stops takes a few steps
            more. An interrupted fit may go on with another executor of the same type of device.
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
    training = MemberTraining(
        network=network, x=x, y=y, method=method, trainer=trainer, loss=loss, seed=seed,
        row_weight=row_weight, memory_budget=memory_budget, start=start,
    )  # fmt: skip
    device_type = x.device.type if executor is None else executor.device_type or x.device.type
    with ExitStack() as until_the_end:
        kept = None
        if checkpoint is not None:
            identity = {
                "network": _network_digest(network),
                "X": digest(x), "y": digest(y), "sample weights": digest(row_weight),
                "method": digest(method), "trainer": digest(trainer), "loss": digest(loss),
                "number of members": digest(n_members), "seed": digest(seed),
                "device": digest(device_type), "first member": digest(first),
                "start": digest(start),
            }  # fmt: skip
            opened = open_checkpoint(checkpoint, identity, members=range(first, n_members))
            kept = until_the_end.enter_context(opened)
        draw = until_the_end.enter_context(
            progress_bar(shown=verbose, n_members=n_members, first=first)
        )
        tell: list[Callback] = [draw] if callback is None else [draw, callback]
        gathered = Gathered(range(first, n_members))
        if executor is None:
            train_in_chunks(
                training.train,
                training.read,
                gathered.take,
                first=first,
                n_members=n_members,
                at_once=training.at_once(device_type),
                device=x.device,
                tell=tell,
                finished=draw.finished,
                checkpoint=kept,
            )
        else:
            train_elsewhere(
                until_the_end.enter_context(executor.kept()),
                training,
                gathered.take,
                first=first,
                n_members=n_members,
                tell=tell,
                finished=draw.finished,
                checkpoint=kept,
            )
    return gathered.fitted()


def default_trainer(n_points: int, n_outputs: int, loss: Loss) -> Trainer:
    """Return Gauss–Newton for squares of up to 512 points times outputs, else Adam."""
    if n_points * n_outputs <= SECOND_ORDER_ROWS and isinstance(loss, SquaredError):
        return GaussNewton()
    batch_size = 256 if n_points < 20_000 else 1024
    return Adam(steps=max(2000, min(20 * n_points // batch_size, 5000)), batch_size=batch_size)


def _network_digest(network: nn.Module) -> str:
    """Return a digest of what members take from the network: all but its trained values."""
    params = dict(network.named_parameters())
    frozen = {name: value for name, value in params.items() if not value.requires_grad}
    held = [dict(network.named_buffers()), frozen, prior_precision(network)]
    described = re.sub(r" at 0x[0-9a-f]+", "", repr(network))  # addresses change from run to run
    return digest([described, str(type(network)), *held])
