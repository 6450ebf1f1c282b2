"""MC dropout over a coordinate network: the network of UncertaINR's first variant."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

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
from ct.posterior.normalisation import value_range
from ct.problem import Estimate, Problem, Progress, Setting

# places of the random streams under a slice's seed
_INITIAL, _TRAINING, _SAMPLES = 0, 1, 2
_WARM_UP = 0.3  # share of the steps in which the learning rate rises


def mc_dropout(
    *,
    network: ImageNetwork | None = None,
    dropout: float = 0.6,
    steps: int = 1500,
    learning_rate: float = 0.08,
    tv_weight: float = 6.0,
    n_samples: int = 50,
) -> MCDropout:
    """Make the reconstruction method that samples images from a network with dropout.

    The image is x = offset + scale · f_θ(pixels), with offset and scale taken from a filtered
    back-projection. Training minimises, each step under one draw z of dropout masks,

        [Σ_rays ½ ((A x(θ ⊙ z) − y) / σ)² + w · TV(f_{θ⊙z})] / number of rays

    with Adam and a one-cycle learning rate; samples are x(θ ⊙ z) under fresh masks. A mask holds
    for the whole image, so samples are joint over the pixels. The fit to the noise itself limits
    the spread where the rays tell something, and only there.

    The loss is a mean over rays, as published, with w/rays in the place of c/side: the weight
    then means the same at any number of views (the best c fell as one over them).

    Measured on three CT slices of 128² pixels, 40 dB, that the defaults were chosen on: the 95 %
    intervals cover 95 % of the pixels at 60 views, but 81 % at 20. Nothing is calibrated.

    Args:
        network: kind of coordinate network; None for `FeatureGrid()`.
        dropout: probability that a unit is lost; more of it widens the error bars.
        steps: optimisation steps; longer training narrows the error bars.
        learning_rate: Adam's largest step, in the network's own units.
        tv_weight: w, per unit of total variation of an image whose range is 1; noisier scans
            do better with less.
        n_samples: how many samples stand behind mean and standard deviation, at least 2.

    Returns:
        A method for `ct.reconstruct`.

    Raises:
        ValueError: a setting outside its range.

    Source:
        F. Vasconcelos, B. He, N. Singh, Y. W. Teh, UncertaINR, TMLR 2023, arXiv 2202.10847.

    Example:
        >>> mc_dropout(steps=200).settings()["steps"]
        200
    """
    return MCDropout(
        network=FeatureGrid() if network is None else network,
        dropout=dropout,
        steps=steps,
        learning_rate=learning_rate,
        tv_weight=tv_weight,
        n_samples=n_samples,
    )


@dataclass(frozen=True, kw_only=True)
class MCDropout:
    """The method behind `mc_dropout`, which says what the settings mean."""

    network: ImageNetwork
    dropout: float
    steps: int
    learning_rate: float
    tv_weight: float
    n_samples: int

    def __post_init__(self) -> None:
        if not 0 < self.dropout < 1:
            raise ValueError(f"dropout: expected a rate between 0 and 1, got {self.dropout!r}.")
        check_count(self.steps, "steps")
        check_positive(self.learning_rate, "learning_rate")
        if not (math.isfinite(self.tv_weight) and self.tv_weight >= 0):
            raise ValueError(f"tv_weight: expected a number of at least 0, got {self.tv_weight!r}.")
        check_count(self.n_samples, "n_samples", minimum=2)

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
        """Reconstruct one slice; the same seed gives the same result on the same machine.

        Args:
            problem: what was measured.
            seed: seed of the initial parameters, the training masks and the samples.
            progress: called after every step and sample.

        Returns:
            Mean, standard deviation and, if the problem asks for them, the samples.

        Raises:
            ValueError: training diverged.
        """
        total = self.steps + self.n_samples

        def report(done: int) -> None:
            if progress is not None:
                progress(done, total)

        values = value_range(problem)
        network = self.network.build(
            problem.grid.shape, start=values.level, generator=seeded_generator(seed, _INITIAL)
        ).to(problem.sinogram)
        dropout = UnitDropout(units=network.dropout_units, rate=self.dropout)
        params, loss = self._train(
            network,
            dropout,
            values.normalised(problem),
            generator=seeded_generator(seed, _TRAINING),
            report=report,
        )

        def image(drawn: Params) -> Tensor:
            return values.to_image(_render(network, drawn))

        sample_seed = seeded_generator(seed, _SAMPLES).initial_seed()
        samples = draw_functions(image, params, dropout, seed=sample_seed)
        moments = sample_moments(
            _counted(samples, report, self.steps),
            n_samples=self.n_samples,
            keep_samples=problem.keep_samples,
        )
        residual = (problem.projector(moments.mean) - problem.sinogram) / problem.noise_std
        diagnostics: dict[str, Setting] = {
            "loss": loss,
            "chi_squared_per_ray": float(residual.square().mean()),
            "offset": values.offset,
            "scale": values.scale,
        }
        return Estimate(
            mean=moments.mean, std=moments.std, samples=moments.samples, diagnostics=diagnostics
        )

    def _train(
        self,
        network: CoordinateImage,
        dropout: UnitDropout,
        problem: Problem,
        *,
        generator: torch.Generator,
        report: Callable[[int], None],
    ) -> tuple[Params, float]:
        params = {
            name: p.detach().clone().requires_grad_() for name, p in network.named_parameters()
        }
        groups = [
            {"params": [p], "factor": network.step_factors.get(name, 1.0)}
            for name, p in params.items()
        ]
        optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99))
        weight = self.tv_weight / problem.sinogram.numel()
        loss = problem.sinogram.new_zeros(())
        for step in range(self.steps):
            rate = self.learning_rate * _one_cycle((step + 0.5) / self.steps)
            for group in optimiser.param_groups:
                group["lr"] = rate * group["factor"]
            optimiser.zero_grad()
            image = _render(network, dropout.draw(params, generator=generator))
            residual = (problem.projector(image) - problem.sinogram) / problem.noise_std
            loss = residual.square().mean() / 2 + weight * isotropic_tv(image)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            report(step + 1)
        final = float(loss.detach())
        if not math.isfinite(final):
            raise ValueError(
                "mc-dropout: training diverged (the loss is no number any more); lower "
                "learning_rate, or check noise_std."
            )
        return {name: p.detach() for name, p in params.items()}, final


def _render(network: CoordinateImage, params: Params) -> Float[Tensor, "rows columns"]:
    image: Tensor = functional_call(network, params, ())
    return image


def _one_cycle(progress: float) -> float:
    """Return the learning rate's factor: up from 1/25, then down to 0, along cosines."""
    if progress < _WARM_UP:
        return 1 - 0.96 * (1 + math.cos(math.pi * progress / _WARM_UP)) / 2
    return (1 + math.cos(math.pi * (progress - _WARM_UP) / (1 - _WARM_UP))) / 2


def _counted(
    samples: Iterator[Tensor], report: Callable[[int], None], done: int
) -> Iterator[Tensor]:
    for index, sample in enumerate(samples, start=1):
        report(done + index)
        yield sample
