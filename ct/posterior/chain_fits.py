"""The fits from which Markov chains begin: as many at once as the memory takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from bayesnn.inference.mc_dropout import Params
from ct.checkpoint import Checkpoint
from ct.inr.coordinates import CoordinateImage
from ct.posterior.chunked import at_once, in_chunks, peak_bytes
from ct.posterior.image_model import ImageModel
from ct.posterior.side_by_side import member, stacked
from ct.posterior.training import Descent, Trained, measurements, train_members


@dataclass(frozen=True, kw_only=True)
class Fits:
    """Where chains begin.

    Attributes:
        params: θ of each fit; None where it diverged.
        tv_weight: the mean weight of total variation that the fits' images ask for.
    """

    params: list[Params | None]
    tv_weight: float


def fit_members(
    model: ImageModel,
    networks: Sequence[CoordinateImage],
    descent: Descent,
    *,
    report: Callable[[int], None],
    checkpoint: Checkpoint,
) -> Fits:
    """Train one network from several initial parameters.

    Args:
        model: the image as a function of θ.
        networks: their parameters are where the fits start; else they are not used.
        descent: how they are trained.
        report: called with the steps of all fits after each.
        checkpoint: where their states are left.

    Returns:
        The fits.
    """
    problem = model.problem
    measured = measurements(problem)
    initial = [
        {name: value.detach().to(problem.sinogram) for name, value in one.named_parameters()}
        for one in networks
    ]

    def train(numbers: range) -> Trained:
        return train_members(
            model.network,
            stacked([initial[number] for number in numbers]),
            measured,
            descent,
            report=lambda step: report(numbers.start * descent.steps + len(numbers) * step),
            checkpoint=checkpoint.part(f"fits-{numbers.start}-{numbers.stop - 1}"),
        )

    problem.projector.T(problem.sinogram)  # weights that are made on first use do not count
    one_step = replace(descent, steps=1)
    start = stacked(initial[:1])
    each = peak_bytes(lambda: train_members(model.network, start, measured, one_step))
    most = at_once(each, problem.sinogram.device, problem.memory_budget, what="fit")
    chunks = in_chunks(train, n=len(initial), at_once=most, what="fits")
    good = torch.cat([part.good for part in chunks.results])
    weights = torch.cat([part.tv_weight for part in chunks.results])
    params = [
        member(part.params, index) if bool(part.good[index]) else None
        for part in chunks.results
        for index in range(len(part.good))
    ]
    return Fits(params=params, tv_weight=float(weights[good].mean()) if bool(good.any()) else 0.0)
