"""Laplace's approximation of the read-out: the features of one trained network are kept."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.func import functional_call

from bayesnn.inference.laplace import curvature_diagonal, laplace_posterior
from bayesnn.inference.linearised import Linearised
from bayesnn.inference.mc_dropout import UnitDropout
from benchmarks.image_classes.functions import Candidate, Functions, Training
from benchmarks.image_classes.one_network import trained


def laplace_candidates() -> tuple[Candidate, ...]:
    """Return Laplace of the read-out by the precision and the scale of the prior."""
    return tuple(
        Candidate(
            said=f"τ {precision:g}, weight_std {weight_std:g}",
            fit=partial(fit_laplace, precision=precision, weight_std=weight_std),
        )
        for weight_std, precision in ((1.5, 1.0), (1.5, 0.1), (2.5, 1.0), (2.5, 0.1))
    )


def fit_laplace(training: Training, *, precision: float, weight_std: float) -> Functions:
    """Train by maximum a posteriori, then take the read-out's generalised Gauss–Newton matrix."""
    network = training.network(weight_std)
    none = UnitDropout(units={}, rate=0.0)
    params = trained(network, training, none)
    body, readout = network[:-1], network[-1]
    last = {name: params[f"{len(network) - 1}.{name}"] for name, _ in readout.named_parameters()}
    earlier = {name: params[name] for name, _ in body.named_parameters()}

    def features(x: Tensor) -> Tensor:
        with torch.no_grad():
            return functional_call(body, earlier, (x,))  # type: ignore[no-any-return]

    seen = features(training.x)
    model = Linearised(lambda p: functional_call(readout, p, (seen,)), last)
    curvature = SoftmaxCurvature(model.output.softmax(-1))
    posterior = laplace_posterior(
        model, [curvature], torch.full_like(model.at, precision),
        data_diagonal=curvature_diagonal(model, [curvature], seed=training.seed),
        seed=training.seed,
    )  # fmt: skip
    moved = model.at + posterior.sample(range(training.budget.draws), seed=training.seed).values
    drawn = [model.layout.split(vector) for vector in moved]

    def functions(x: Tensor) -> Tensor:
        some = features(x)
        return torch.stack([functional_call(readout, p, (some,)) for p in drawn]).detach()

    return functions


class SoftmaxCurvature:
    """Hessian of the cross-entropy in the logits, diag(p) − p pᵀ at each image.

    Args:
        probabilities: p, [n, classes].
    """

    def __init__(self, probabilities: Tensor) -> None:
        self._p = probabilities

    def __call__(self, outputs: Tensor) -> Tensor:
        """Return P f of each f, [batch, n, classes]."""
        weighted = self._p * outputs
        return weighted - self._p * weighted.sum(-1, keepdim=True)

    def draw(self, generator: torch.Generator) -> Tensor:
        """Return one draw of N(0, P): with ε ~ N(0, I), √p ⊙ ε − p (√pᵀε)."""
        noise = torch.randn(self._p.shape, generator=generator).to(self._p)
        rooted = self._p.sqrt() * noise
        return rooted - self._p * rooted.sum(-1, keepdim=True)
