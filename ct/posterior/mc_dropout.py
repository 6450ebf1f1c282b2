"""MC dropout over a coordinate network: the network of UncertaINR's first variant."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call

from bayesnn.checks import check_count, check_positive
from bayesnn.inference.mc_dropout import Params, UnitDropout, draw_functions, sample_moments
from bayesnn.seeds import seeded_generator
from ct.classical.total_variation import isotropic_tv
from ct.inr.coordinates import CoordinateImage, ImageNetwork
from ct.inr.feature_grid import FeatureGrid
from ct.posterior.held_out_views import solve_with_held_out_scale
from ct.posterior.normalisation import value_range
from ct.problem import Estimate, Problem, Progress, Setting

# places of the random streams under a slice's seed
_INITIAL, _TRAINING, _SAMPLES = 0, 1, 2
_FIRST_TV_WEIGHT = 10.0  # for the first tenth of the steps, while the image is still flat
_WARM_UP = 0.3  # share of the steps in which the learning rate rises
_CENTRE_RATE = 0.5  # of the learning rate, where training without dropout begins


def mc_dropout(
    *,
    network: ImageNetwork | None = None,
    dropout: float = 0.6,
    steps: int = 1000,
    learning_rate: float = 0.08,
    centre_steps: int = 1000,
    tv_share: float = 0.4,
    n_samples: int = 50,
    held_out: float = 0.1,
) -> MCDropout:
    """Make the reconstruction method that samples images from a network with dropout.

    The image is x = offset + scale · f_θ(pixels), with offset and scale taken from a filtered
    back-projection. Training minimises, each step under one draw z of dropout masks,

        [Σ_rays ½ ((A x(θ ⊙ z) − y) / σ)² + w · TV(f_{θ⊙z})] / number of rays

    with Adam and a one-cycle learning rate; samples are x(θ ⊙ z) under fresh masks. A mask holds
    for the whole image, so samples are joint over the pixels. The fit to the noise itself limits
    the spread where the rays tell something, and only there.

    Under a prior ∝ exp(−w · TV) the expected w · TV is the number of pixels, so w = pixels / TV is
    the weight that the image itself calls likely (Pereyra et al., 2015); a part of it, `tv_share`,
    served best. It needs no truth, and follows the noise, the number of views and the units.

    Where the noise is low, the masks themselves would blur the mean of the samples. So training
    goes on without dropout, that image is the mean, and the samples are moved to it. Held-out views
    may widen the spread, never narrow it. benchmarks/results/ct_defaults.md says what the intervals
    cover.

    Args:
        network: kind of coordinate network; None for `FeatureGrid()`.
        dropout: probability that a unit is lost; more of it widens the error bars.
        steps: optimisation steps; longer training narrows the error bars.
        centre_steps: steps without dropout that follow, for the mean; 0 makes the mean of the
            samples the mean, as published.
        learning_rate: Adam's largest step, in the network's own units.
        tv_share: sets the weight of total variation, w = tv_share · pixels / TV(f), anew during
            training, so that it follows the image; 0 leaves total variation out.
        n_samples: how many samples stand behind mean and standard deviation, at least 2.
        held_out: share of the views that a first fit leaves out, to scale the error bars by
            them (`ct.posterior.held_out_views`); 0 saves that fit and leaves the bars as they are.

    Returns:
        A method for `ct.reconstruct`.

    Raises:
        ValueError: a setting outside its range.

    Source:
        F. Vasconcelos, B. He, N. Singh, Y. W. Teh, UncertaINR, TMLR 2023, arXiv 2202.10847.
        M. Pereyra, J. Bioucas-Dias, M. Figueiredo, Maximum-a-posteriori estimation with unknown
        regularisation parameters, EUSIPCO 2015.

    Example:
        >>> mc_dropout(steps=200).settings()["steps"]
        200
    """
    return MCDropout(
        network=FeatureGrid() if network is None else network,
        dropout=dropout,
        steps=steps,
        centre_steps=centre_steps,
        learning_rate=learning_rate,
        tv_share=tv_share,
        n_samples=n_samples,
        held_out=held_out,
    )


@dataclass(frozen=True, kw_only=True)
class MCDropout:
    """The method behind `mc_dropout`, which says what the settings mean."""

    network: ImageNetwork
    dropout: float
    steps: int
    centre_steps: int
    learning_rate: float
    tv_share: float
    n_samples: int
    held_out: float

    def __post_init__(self) -> None:
        if not 0 < self.dropout < 1:
            raise ValueError(f"dropout: expected a rate between 0 and 1, got {self.dropout!r}.")
        check_count(self.steps, "steps")
        check_count(self.centre_steps, "centre_steps", minimum=0)
        check_positive(self.learning_rate, "learning_rate")
        if not (math.isfinite(self.tv_share) and self.tv_share >= 0):
            raise ValueError(f"tv_share: expected a number of at least 0, got {self.tv_share!r}.")
        check_count(self.n_samples, "n_samples", minimum=2)
        if not 0 <= self.held_out <= 0.5:
            raise ValueError(
                f"held_out: expected a share of the views from 0 to 0.5, got {self.held_out!r}."
            )

    @property
    def name(self) -> str:
        """The command line's spelling."""
        return "mc-dropout"

    def settings(self) -> dict[str, Setting]:
        """Return every hyper-parameter by name, the network's after a dot."""
        own = {key: value for key, value in vars(self).items() if key != "network"}
        inner = {f"network.{key}": value for key, value in self.network.settings().items()}
        return {"network": self.network.name, **own, **inner}

    def solve(self, problem: Problem, *, seed: int, progress: Progress | None = None) -> Estimate:
        """Reconstruct one slice, twice where views are held out to scale the spread.

        The same seed gives the same result on the same machine.

        Args:
            problem: what was measured.
            seed: seed of the initial parameters, the training masks and the samples.
            progress: called after every step and sample.

        Returns:
            Mean, standard deviation and, if the problem asks for them, the samples.

        Raises:
            ValueError: training diverged.
        """
        return solve_with_held_out_scale(
            self._solve, problem, share=self.held_out, seed=seed, progress=progress
        )

    def _solve(self, problem: Problem, seed: int, progress: Progress | None) -> Estimate:
        total = self.steps + self.centre_steps + self.n_samples

        def report(done: int) -> None:
            if progress is not None:
                progress(done, total)

        values = value_range(problem)
        network = self.network.build(
            problem.grid.shape, start=values.level, generator=seeded_generator(seed, _INITIAL)
        ).to(problem.sinogram)
        descend = partial(
            self._train,
            network,
            problem=values.normalised(problem),
            generator=seeded_generator(seed, _TRAINING),
            report=report,
        )
        dropout = UnitDropout(units=network.dropout_units, rate=self.dropout)
        start = {name: p.detach() for name, p in network.named_parameters()}
        fit = descend(start, dropout, steps=range(self.steps))

        def image(drawn: Params) -> Tensor:
            return values.to_image(_render(network, drawn))

        sample_seed = seeded_generator(seed, _SAMPLES).initial_seed()
        moments = sample_moments(
            _counted(
                draw_functions(image, fit.params, dropout, seed=sample_seed), report, self.steps
            ),
            n_samples=self.n_samples,
            keep_samples=problem.keep_samples,
        )
        mean, samples = moments.mean, moments.samples
        if self.centre_steps > 0:
            done = self.steps + self.n_samples
            fit = descend(
                fit.params,
                UnitDropout(units={}, rate=0.0),
                steps=range(done, done + self.centre_steps),
            )
            with torch.no_grad():
                mean = image(fit.params)
            samples = None if samples is None else samples + (mean - moments.mean)
        residual = (problem.projector(mean) - problem.sinogram) / problem.noise_std
        diagnostics: dict[str, Setting] = {
            "loss": fit.loss,
            "tv_weight": fit.tv_weight,
            "chi_squared_per_ray": float(residual[problem.noise_std.isfinite()].square().mean()),
            "offset": values.offset,
            "scale": values.scale,
        }
        return Estimate(mean=mean, std=moments.std, samples=samples, diagnostics=diagnostics)

    def _train(
        self,
        network: CoordinateImage,
        start: Params,
        dropout: UnitDropout,
        *,
        steps: range,
        problem: Problem,
        generator: torch.Generator,
        report: Callable[[int], None],
    ) -> _Fit:
        params = {name: p.clone().requires_grad_() for name, p in start.items()}
        groups = [
            {"params": [p], "factor": network.step_factors.get(name, 1.0)}
            for name, p in params.items()
        ]
        optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99))
        weight = _FIRST_TV_WEIGHT if self.tv_share > 0 else 0.0
        n_rays = problem.sinogram.numel()
        loss = problem.sinogram.new_zeros(())
        fresh = steps.start == 0
        for index, step in enumerate(steps):
            if index % 10 == 0 and (index >= len(steps) // 10 or not fresh):
                with torch.no_grad():
                    weight = self.tv_share * _likely_tv_weight(_render(network, params))
            share = (index + 0.5) / len(steps)
            rate = self.learning_rate * (
                _one_cycle(share) if fresh else _CENTRE_RATE * _fall(share)
            )
            for group in optimiser.param_groups:
                group["lr"] = rate * group["factor"]
            optimiser.zero_grad()
            image = _render(network, dropout.draw(params, generator=generator))
            residual = (problem.projector(image) - problem.sinogram) / problem.noise_std
            loss = residual.square().mean() / 2 + weight / n_rays * isotropic_tv(image)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            report(step + 1)
        final = float(loss.detach())
        if not math.isfinite(final):
            raise ValueError(
                "mc-dropout: training diverged (the loss is no number any more); lower "
                "learning_rate, or check noise_std."
            )
        params = {name: p.detach() for name, p in params.items()}
        return _Fit(params=params, loss=final, tv_weight=weight)


@dataclass(frozen=True, kw_only=True)
class _Fit:
    params: Params
    loss: float
    tv_weight: float


def _render(network: CoordinateImage, params: Params) -> Float[Tensor, "rows columns"]:
    image: Tensor = functional_call(network, params, ())
    return image


def _likely_tv_weight(image: Float[Tensor, "rows columns"]) -> float:
    """Return the weight under which the image's own total variation is to be expected."""
    # a flat image would ask for an endless weight
    return image.numel() / max(float(isotropic_tv(image)), 1e-3 * image.numel())


def _one_cycle(progress: float) -> float:
    """Return the learning rate's factor: up from 1/25, then down to 0, along cosines."""
    if progress < _WARM_UP:
        return 1 - 0.96 * _fall(progress / _WARM_UP)
    return _fall((progress - _WARM_UP) / (1 - _WARM_UP))


def _fall(progress: float) -> float:
    return (1 + math.cos(math.pi * progress)) / 2


def _counted(
    samples: Iterator[Tensor], report: Callable[[int], None], done: int
) -> Iterator[Tensor]:
    for index, sample in enumerate(samples, start=1):
        report(done + index)
        yield sample
