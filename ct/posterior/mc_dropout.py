"""MC dropout over a coordinate network: the network of UncertaINR's first variant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from bayesnn.checks import check_count, check_positive
from bayesnn.inference.mc_dropout import UnitDropout, draw_functions, sample_moments
from bayesnn.seeds import seeded_generator
from ct.inr.coordinates import ImageNetwork
from ct.inr.feature_grid import FeatureGrid
from ct.inr.plain_settings import plain_settings
from ct.posterior.held_out_views import check_held_out, solve_with_held_out_scale
from ct.posterior.image_model import image_model
from ct.posterior.lone_network import note_lone_network
from ct.posterior.schedules import cosine_fall
from ct.posterior.side_by_side import dropout_rendering, member, stacked
from ct.posterior.training import Descent, check_tv, measurements, train_members
from ct.problem import Estimate, Problem, Progress, Setting

# places of the random streams under a slice's seed
_INITIAL, _TRAINING, _SAMPLES = 0, 1, 2
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
        check_tv(self.tv_share, "tv_share")
        check_count(self.n_samples, "n_samples", minimum=2)
        check_held_out(self.held_out)

    @property
    def name(self) -> str:
        """The command line's spelling."""
        return "mc-dropout"

    def settings(self) -> dict[str, Setting]:
        """Return every hyper-parameter by name, the network's after a dot."""
        return plain_settings(self)

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
        note_lone_network(problem, self.network)
        return solve_with_held_out_scale(
            self._solve, problem, share=self.held_out, seed=seed, progress=progress
        )

    def _solve(self, problem: Problem, seed: int, progress: Progress | None) -> Estimate:
        total = self.steps + self.centre_steps + self.n_samples

        def report(done: int) -> None:
            if progress is not None:
                progress(done, total)

        model = image_model(problem, self.network, seed=seed, place=_INITIAL)
        dropout = UnitDropout(units=model.network.dropout_units, rate=self.dropout)
        measured = measurements(model.problem)
        seeds = [seeded_generator(seed, _TRAINING).initial_seed()]
        first = Descent(steps=self.steps, learning_rate=self.learning_rate, tv_share=self.tv_share)
        fit = train_members(
            model.network,
            stacked([model.initial_params()]),
            measured,
            first,
            render=dropout_rendering(model.network, dropout, seeds=seeds),
            report=report,
            checkpoint=problem.checkpoint.part("fit"),
        )
        fit.check(self.name)
        moments = sample_moments(
            _counted(
                draw_functions(
                    model.image,
                    member(fit.params, 0),
                    dropout,
                    seed=seeded_generator(seed, _SAMPLES).initial_seed(),
                ),
                report,
                self.steps,
            ),
            n_samples=self.n_samples,
            keep_samples=problem.keep_samples,
        )
        mean, samples = moments.mean, moments.samples
        if self.centre_steps > 0:
            done = self.steps + self.n_samples
            fit = train_members(
                model.network,
                fit.params,
                measured,
                replace(
                    first,
                    steps=self.centre_steps,
                    learning_rate=_CENTRE_RATE * self.learning_rate,
                    schedule=cosine_fall,
                    flat_share=0.0,
                ),
                report=lambda step: report(done + step),
                checkpoint=problem.checkpoint.part("centre"),
            )
            fit.check(self.name)
            mean = model.image(member(fit.params, 0))
            samples = None if samples is None else samples + (mean - moments.mean)
        diagnostics: dict[str, Setting] = {
            "loss": float(fit.loss[0]),
            "tv_weight": float(fit.tv_weight[0]),
            "chi_squared_per_ray": problem.chi_squared_per_ray(mean),
            "offset": model.values.offset,
            "scale": model.values.scale,
        }
        return Estimate(mean=mean, std=moments.std, samples=samples, diagnostics=diagnostics)


def _counted(
    samples: Iterator[Tensor], report: Callable[[int], None], done: int
) -> Iterator[Tensor]:
    for index, sample in enumerate(samples, start=1):
        report(done + index)
        yield sample
