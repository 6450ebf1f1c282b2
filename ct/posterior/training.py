"""Members of one coordinate network trained at once, each on measurements of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bayesnn.inference.mc_dropout import Params
from ct.checkpoint import Checkpoint, Forgetful
from ct.classical.total_variation import isotropic_tv
from ct.inr.coordinates import CoordinateImage
from ct.posterior.schedules import one_cycle
from ct.posterior.side_by_side import Render, plain_rendering
from ct.posterior.training_state import restore, state_of
from ct.problem import Problem
from ct.projectors.operator import Projector

_FIRST_TV_WEIGHT = 10.0  # while the image is still flat
_TV_EVERY = 10  # steps between two looks at the image
_LOST = 2.0  # times the misfit of the start: training has made the image worse, not better
_LOST_FROM = 1.0  # least misfit of a start that counts: a flat object's start may fit at once
_LEAST_TV = 1e-3  # a pixel: a flat image would ask for an endless weight


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """What the members see, in the network's units; one for all of them, or one each.

    Attributes:
        projector: A.
        sinogram: y, [1 or members, views, detectors].
        noise_std: σ of each ray, infinite for rays that were not measured, [1 or members, ...].
    """

    projector: Projector
    sinogram: Float[Tensor, "some views detectors"]
    noise_std: Float[Tensor, "some_too views detectors"]

    def misfit(self, images: Float[Tensor, "members rows columns"]) -> Float[Tensor, " members"]:
        """Return ½ · mean over rays of ((A f − y)/σ)² of each member's image."""
        residual = (self.projector(images) - self.sinogram) / self.noise_std
        return residual.square().mean((-2, -1)) / 2

    def some(self, members: range) -> Measurements:
        """Return what some of the members see."""
        chosen = slice(members.start, members.stop)
        sinogram, noise_std = (
            values if len(values) == 1 else values[chosen]
            for values in (self.sinogram, self.noise_std)
        )
        return Measurements(projector=self.projector, sinogram=sinogram, noise_std=noise_std)


def measurements(problem: Problem) -> Measurements:
    """Return what a problem's members see, if all see the same.

    Args:
        problem: in the network's units, as `ImageModel.problem`.

    Returns:
        Its sinogram and noise, for any number of members.
    """
    return Measurements(
        projector=problem.projector,
        sinogram=problem.sinogram[None],
        noise_std=problem.noise_std[None],
    )


def check_tv(value: float, name: str) -> None:
    """Refuse what is no share or weight of total variation.

    Raises:
        ValueError: it is negative, NaN or infinite.

    Example:
        >>> check_tv(0.4, "tv_share")
    """
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name}: expected a number of at least 0, got {value!r}.")


@dataclass(frozen=True, kw_only=True)
class Descent:
    """How members are trained: Adam, a learning rate that moves, and total variation.

    Attributes:
        steps: how many.
        learning_rate: the largest, in the network's own units.
        schedule: its factor, from the share of the steps that are done.
        tv_share: sets the weight of total variation to tv_share · pixels / TV(f), of each member
            by itself, every few steps; 0 leaves total variation out.
        flat_share: share of the steps in which that weight is a fixed number, as the image of a
            network that has learnt nothing says nothing.
        regulariser: added to the loss of each member, from θ; None for nothing.
    """

    steps: int
    learning_rate: float
    schedule: Callable[[float], float] = one_cycle
    tv_share: float = 0.0
    flat_share: float = 0.1
    regulariser: Callable[[Params], Float[Tensor, " members"]] | None = None


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Members that were trained.

    Attributes:
        params: θ, stacked.
        loss: of each at the last step.
        tv_weight: the last weight of total variation of each.
        good: which of them can be used; the others diverged: a number that is none, or an image
            that fits twice as badly as the one from which training began.
    """

    params: Params
    loss: Float[Tensor, " members"]
    tv_weight: Float[Tensor, " members"]
    good: Bool[Tensor, " members"]

    def check(self, method: str) -> None:
        """Raise ValueError in the name of a method that cannot do without any of them."""
        if not bool(self.good.all()):
            raise ValueError(
                f"{method}: training diverged (the loss is no number any more, or grew); lower "
                "learning_rate, or check noise_std."
            )


def train_members(
    network: CoordinateImage,
    start: Params,
    measured: Measurements,
    descent: Descent,
    *,
    render: Render | None = None,
    clean: Render | None = None,
    report: Callable[[int], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Trained:
    """Train many members of one network side by side.

    Member m minimises over θ, with its own y, σ and weight w,

        ½ · mean over rays of ((A f_θ − y)/σ)² + w · TV(f_θ) / number of rays + regulariser(θ)

    with Adam (betas 0.9 and 0.99). Members never depend on one another: those of a chunk are those
    of all, to rounding. Nothing in a step waits for the device.

    Args:
        network: what all members are; its `step_factors` are factors on the learning rate.
        start: θ at the start, stacked.
        measured: what the members see.
        descent: how they are trained.
        render: from θ and the step to the images that are compared with the measurements, such as
            `dropout_rendering`; None for the images themselves.
        clean: from θ to the images themselves; None for those of `network`.
        report: called with the number of steps done after each.
        checkpoint: where the state is left; training goes on from what stands there.

    Returns:
        The members; those that diverged too.
    """
    clean = clean or plain_rendering(network)
    render = render or clean
    checkpoint = checkpoint or Forgetful()
    params = {name: value.detach().clone().requires_grad_() for name, value in start.items()}
    optimiser = torch.optim.Adam(
        [
            {"params": [value], "factor": network.step_factors.get(name, 1.0)}
            for name, value in params.items()
        ],
        betas=(0.9, 0.99),
        lr=descent.learning_rate,
        fused=True,
    )
    n_members = len(next(iter(params.values())))
    zeros = measured.sinogram.new_zeros(n_members)
    notes = {
        "loss": zeros.clone(),
        "first_misfit": zeros.clone(),
        "misfit": zeros.clone(),
        "tv_weight": zeros + (_FIRST_TV_WEIGHT if descent.tv_share > 0 else 0.0),
    }
    done = restore(checkpoint.load(), params, optimiser, notes)
    n_rays = measured.sinogram[0].numel()
    first_look = int(descent.flat_share * descent.steps)
    for step in range(done, descent.steps):
        if descent.tv_share > 0 and step % _TV_EVERY == 0 and step >= first_look:
            with torch.no_grad():
                notes["tv_weight"] = descent.tv_share * likely_tv_weight(clean(params, step))
        rate = descent.learning_rate * descent.schedule((step + 0.5) / descent.steps)
        for group in optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        optimiser.zero_grad()
        images = render(params, step)
        misfit = measured.misfit(images)
        losses = misfit + notes["tv_weight"] / n_rays * isotropic_tv(images)
        if descent.regulariser is not None:
            losses = losses + descent.regulariser(params)
        losses.sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        notes["loss"], notes["misfit"] = losses.detach(), misfit.detach()
        if step == 0:
            notes["first_misfit"] = misfit.detach()
        last = step + 1 == descent.steps
        if last or checkpoint.due():
            checkpoint.save(state_of(params, None if last else optimiser, notes, step + 1))
        if report is not None:
            report(step + 1)
    finished = {name: value.detach() for name, value in params.items()}
    return Trained(
        params=finished,
        loss=notes["loss"],
        tv_weight=notes["tv_weight"],
        good=_good(finished, notes),
    )


def likely_tv_weight(
    images: Float[Tensor, "*batch rows columns"],
) -> Float[Tensor, "*batch"]:
    """Return the weight under which an image's own total variation is to be expected.

    Under a prior ∝ exp(−w · TV) the expected w · TV is the number of pixels.

    Args:
        images: any number of them.

    Returns:
        w = pixels / TV, of each.

    Source:
        M. Pereyra, J. Bioucas-Dias, M. Figueiredo, Maximum-a-posteriori estimation with unknown
        regularisation parameters, EUSIPCO 2015.

    Example:
        >>> likely_tv_weight(torch.tensor([[0.0, 3.0], [4.0, 4.0]]))
        tensor(0.6667)
    """
    n_pixels = images.shape[-2] * images.shape[-1]
    return n_pixels / isotropic_tv(images).clamp(min=_LEAST_TV * n_pixels)


def _good(params: Params, notes: dict[str, Tensor]) -> Bool[Tensor, " members"]:
    finite = [value.flatten(1).isfinite().all(1) for value in params.values()]
    finite.append(notes["loss"].isfinite())
    return torch.stack(finite).all(0) & (
        notes["misfit"] <= _LOST * notes["first_misfit"].clamp(min=_LOST_FROM)
    )
