"""Markov chains over images: what they sample, and what is kept of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from bayesnn.inference.hmc import Chain, Kernel
from bayesnn.inference.mc_dropout import Params
from bayesnn.inference.running_moments import RunningMoments
from bayesnn.seeds import seeded_generator
from ct.checkpoint import Checkpoint
from ct.classical.total_variation import isotropic_tv
from ct.posterior.chain_coordinates import Coordinates
from ct.posterior.image_model import ImageModel

TV_SMOOTHING = 0.01
"""Of the image's range: leapfrog steps need a potential with a curvature."""

WATCHED = 1024
"""Pixels, and parameters, whose draws are kept for R-hat and effective sample sizes."""

_MOST_DIVERGENT = 0.25  # share of the draws; beyond it a chain has left what it should explore
_LEAST_ACCEPTANCE = 0.01


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How each chain is run.

    Attributes:
        kernel: `no_u_turn` or `random_length`.
        warm_up: transitions that adapt and are thrown away.
        n_samples: draws that are kept.
        thinning: transitions for each of them.
        target_acceptance: what the step size is adapted to.
        max_leapfrogs: most steps of a transition.
        keep_samples: whether the images are kept, beside their moments.
    """

    kernel: Kernel
    warm_up: int
    n_samples: int
    thinning: int
    target_acceptance: float
    max_leapfrogs: int
    keep_samples: bool

    @property
    def transitions(self) -> int:
        """How many a chain makes."""
        return self.warm_up + self.n_samples * self.thinning


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What is kept of a chain.

    Attributes:
        moments: of the images that were kept.
        watched: some pixels after each transition, in units in which the range is about 1.
        watched_params: some of the parameters, likewise, in the chain's coordinates.
        samples: the images; None where nobody wants them.
        good: whether the chain can be used: it moved, and its energies held.
        n_divergent: transitions whose energies did not.
        acceptance: mean acceptance probability.
        step_size: of a leapfrog.
        n_evaluations: of the potential's gradient, warm-up included.
    """

    moments: RunningMoments
    watched: Float[Tensor, "draws pixels"]
    watched_params: Float[Tensor, "draws params"]
    samples: Float[Tensor, "samples rows columns"] | None
    good: bool
    n_divergent: int
    acceptance: float
    step_size: float
    n_evaluations: int


def image_potential(
    model: ImageModel, coordinates: Coordinates, *, precision: float, tv_weight: float
) -> Callable[[Float64[Tensor, " n"]], Float64[Tensor, ""]]:
    """Return U(u) = Σ_rays ½((A f − y)/σ)² + ½ τ Σ fan-in θ² + w · TV(f), f and θ of u.

    Args:
        model: the image as a function of θ.
        coordinates: θ of u.
        precision: τ.
        tv_weight: w.
    """
    problem, variance = model.problem, model.prior_variance(precision)

    def potential(u: Float64[Tensor, " n"]) -> Float64[Tensor, ""]:
        params = coordinates.params(u)
        image = model.render(params)
        residual = (problem.projector(image) - problem.sinogram) / problem.noise_std
        energy = residual.double().square().sum() / 2
        for name, value in params.items():
            energy = energy + value.double().square().sum() / (2 * variance[name])
        if tv_weight > 0:
            energy = energy + tv_weight * isotropic_tv(image.double(), TV_SMOOTHING)
        return energy

    return potential


def run_chain(
    model: ImageModel,
    coordinates: Coordinates,
    start: Params,
    sampling: Sampling,
    *,
    precision: float,
    tv_weight: float,
    seed: int,
    report: Callable[[int], None],
    checkpoint: Checkpoint,
) -> Draws | None:
    """Run one chain from its first transition, or from where it was interrupted, to its last.

    Args:
        model: the image as a function of θ.
        coordinates: in which it moves.
        start: θ of the fit.
        sampling: how it is run.
        precision: τ of the prior.
        tv_weight: w of total variation.
        seed: seed of the chain.
        report: called with the number of transitions after each.
        checkpoint: where its state is left.

    Returns:
        What is kept of it; None if there is no energy where it should begin.
    """
    first = coordinates.vector(start)
    noise = torch.randn(first.shape, generator=seeded_generator(seed, 1), dtype=first.dtype)
    first = first + coordinates.start_std * noise.to(first)
    potential = image_potential(model, coordinates, precision=precision, tv_weight=tv_weight)
    with torch.no_grad():
        if not bool(potential(first).isfinite()):
            return None
    chain = Chain(
        potential,
        first,
        warm_up=sampling.warm_up,
        seed=seed,
        kernel=sampling.kernel,
        target_acceptance=sampling.target_acceptance,
        max_leapfrogs=sampling.max_leapfrogs,
    )
    kept = _Kept(model, len(first), sampling)
    saved = checkpoint.load()
    if saved is not None:
        kept.restore(saved)
        chain.restore({
            name.removeprefix("chain/"): value
            for name, value in saved.items()
            if name.startswith("chain/")
        })
    while chain.n_transitions < sampling.transitions:
        u = chain.move()
        done = chain.n_transitions
        if done > sampling.warm_up:
            kept.add(u, coordinates, done - sampling.warm_up)
        if done == sampling.transitions or checkpoint.due():
            states = {f"chain/{name}": value for name, value in chain.state().items()}
            checkpoint.save(states | kept.state())
        report(done)
    return kept.draws(chain)


class _Kept:
    """What is kept of a chain while it runs."""

    def __init__(self, model: ImageModel, n_params: int, sampling: Sampling) -> None:
        self._model, self._sampling = model, sampling
        image = model.problem.sinogram.new_zeros(model.problem.grid.shape)
        self._pixels = _some(image.numel()).to(image.device)
        self._params = _some(n_params).to(image.device)
        self._moments = RunningMoments.none(image)
        n_draws = sampling.n_samples * sampling.thinning
        self._watched = image.new_zeros(n_draws, len(self._pixels))
        self._watched_params = image.new_zeros(n_draws, len(self._params))
        n_kept = sampling.n_samples if sampling.keep_samples else 0
        self._samples = image.new_zeros(n_kept, *image.shape)

    def add(self, u: Tensor, coordinates: Coordinates, number: int) -> None:
        """Take draw `number`, counted from 1."""
        with torch.no_grad():
            render = self._model.render(coordinates.params(u))
        self._watched[number - 1] = render.flatten()[self._pixels]
        self._watched_params[number - 1] = u[self._params].to(render)
        if number % self._sampling.thinning == 0:
            image = self._model.values.to_image(render)
            if self._sampling.keep_samples:
                self._samples[self._moments.count] = image
            self._moments = self._moments.after(image)

    def state(self) -> dict[str, Tensor]:
        """Return all of it, by name."""
        moments = self._moments
        return {
            "count": torch.tensor(moments.count),
            "mean": moments.mean,
            "squares": moments.squares,
            "watched": self._watched,
            "watched_params": self._watched_params,
            "samples": self._samples,
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take a state over."""
        at = {name: state[name].to(self._samples.device, copy=True) for name in self.state()}
        self._moments = RunningMoments(
            count=int(at["count"]), mean=at["mean"], squares=at["squares"]
        )
        self._watched, self._watched_params = at["watched"], at["watched_params"]
        self._samples = at["samples"]

    def draws(self, chain: Chain) -> Draws:
        """Return what was kept of a chain that is done."""
        n_draws = len(self._watched)
        good = (
            bool(self._watched.isfinite().all())
            and chain.n_divergent <= _MOST_DIVERGENT * n_draws
            and chain.acceptance >= _LEAST_ACCEPTANCE
        )
        return Draws(
            moments=self._moments,
            watched=self._watched,
            watched_params=self._watched_params,
            samples=self._samples if self._sampling.keep_samples else None,
            good=good,
            n_divergent=chain.n_divergent,
            acceptance=chain.acceptance,
            step_size=chain.step_size,
            n_evaluations=chain.n_evaluations,
        )


def _some(n: int) -> Int64[Tensor, " some"]:
    """Return numbers of up to `WATCHED` of n entries, the same in all chains."""
    return torch.randperm(n, generator=seeded_generator(0))[:WATCHED]
