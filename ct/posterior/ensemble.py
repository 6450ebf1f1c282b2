"""Deep ensembles of coordinate networks, with or without MC dropout inside."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bayesnn.checks import check_count, check_positive
from bayesnn.inference.mc_dropout import Params, UnitDropout
from bayesnn.seeds import seeded_generator
from ct.inr.coordinates import CoordinateImage, ImageNetwork
from ct.inr.feature_grid import FeatureGrid
from ct.inr.plain_settings import plain_settings
from ct.posterior.chunked import at_once, in_chunks, peak_bytes
from ct.posterior.excluded import excluded_names, refilled
from ct.posterior.held_out_views import check_held_out, solve_with_held_out_scale
from ct.posterior.image_model import network_range
from ct.posterior.perturbation import perturbed_sinograms
from ct.posterior.side_by_side import (
    differing_buffers,
    dropout_rendering,
    plain_rendering,
    stacked,
)
from ct.posterior.training import Descent, Measurements, check_tv, measurements, train_members
from ct.problem import Estimate, Problem, Progress, Setting

# places of the random streams under a slice's seed, each with the member's number behind it
_INITIAL, _NOISE, _TRAINING, _SAMPLES = 0, 1, 2, 3


def ensemble(
    *,
    network: ImageNetwork | None = None,
    n_members: int = 8,
    perturbed: bool = True,
    dropout: float = 0.0,
    samples_per_member: int = 8,
    steps: int = 1000,
    learning_rate: float = 0.08,
    tv_share: float = 0.4,
    held_out: float = 0.1,
) -> Ensemble:
    """Make the reconstruction method that trains several coordinate networks from scratch.

    Member m has an initialisation of its own and, with `perturbed`, measurements of its own,
    y + σ·ε_m with ε_m ~ N(0, I). It minimises

        [Σ_rays ½ ((A x(θ) − y − σ ε_m) / σ)² + w · TV(f_θ)] / number of rays

    as `mc_dropout` does, w included. Were x linear in θ and the penalty a Gaussian prior's, drawn
    anew for each member, such members would be exact posterior samples; without ε_m their spread
    would lack what the noise adds. So it is on unless the published deep ensemble is wanted, whose
    members see the same measurements and differ by their initialisation alone. Uncalibrated 95 %
    intervals of three images covered 62 to 82 % with it, and 41 to 43 % without
    (benchmarks/results/ct_ensemble_noise.md). Members agree on what total variation puts where
    nothing was measured: their spread does not grow along the missing directions of a limited arc.

    With `dropout` each member is trained under masks and gives several samples: both together.

    Members are trained side by side, as many at once as the memory budget takes.
    One that diverges is left out and named in the diagnostics; samples with the others' mean and
    covariance fill its place.

    Args:
        network: kind of coordinate network; None for `FeatureGrid()`.
        n_members: how many networks, at least 2.
        perturbed: whether members see noise of their own.
        dropout: probability that a unit is lost, in training and in the samples; 0 for none.
        samples_per_member: samples of each member, where there is dropout; 1 without.
        steps: optimisation steps of each member.
        learning_rate: Adam's largest step, in the network's own units.
        tv_share: sets the weight of total variation, w = tv_share · pixels / TV(f); 0 leaves it
            out.
        held_out: share of the views that a first fit leaves out, to scale the error bars by
            them (`ct.posterior.held_out_views`); 0 saves that fit and leaves the bars as they are.

    Returns:
        A method for `ct.reconstruct`.

    Raises:
        ValueError: a setting outside its range.

    Source:
        B. Lakshminarayanan, A. Pritzel, C. Blundell, Simple and scalable predictive uncertainty
        estimation using deep ensembles, NeurIPS 2017. F. Vasconcelos, B. He, N. Singh, Y. W. Teh,
        UncertaINR, TMLR 2023, arXiv 2202.10847. J. M. Bardsley, A. Solonen, H. Haario,
        M. Laine, Randomize-then-optimize, SIAM J. Sci. Comput. 36, 2014.

    Example:
        >>> ensemble(n_members=5).n_samples, ensemble(n_members=5, dropout=0.2).n_samples
        (5, 40)
    """
    return Ensemble(
        network=FeatureGrid() if network is None else network,
        n_members=n_members,
        perturbed=perturbed,
        dropout=dropout,
        samples_per_member=samples_per_member,
        steps=steps,
        learning_rate=learning_rate,
        tv_share=tv_share,
        held_out=held_out,
    )


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """The method behind `ensemble`, which says what the settings mean."""

    network: ImageNetwork
    n_members: int
    perturbed: bool
    dropout: float
    samples_per_member: int
    steps: int
    learning_rate: float
    tv_share: float
    held_out: float

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ValueError(
                f"dropout: expected a rate of at least 0 and below 1, got {self.dropout!r}."
            )
        check_count(self.n_members, "n_members", minimum=2)
        check_count(self.samples_per_member, "samples_per_member")
        check_count(self.steps, "steps")
        check_positive(self.learning_rate, "learning_rate")
        check_tv(self.tv_share, "tv_share")
        check_held_out(self.held_out)

    @property
    def name(self) -> str:
        """The command line's spelling."""
        return "ensemble"

    @property
    def n_samples(self) -> int:
        """Samples behind `std`: of all members."""
        return self.n_members * (self.samples_per_member if self.dropout > 0 else 1)

    def settings(self) -> dict[str, Setting]:
        """Return every hyper-parameter by name, the network's after a dot."""
        return plain_settings(self)

    def solve(self, problem: Problem, *, seed: int, progress: Progress | None = None) -> Estimate:
        """Reconstruct one slice, twice where views are held out to scale the spread.

        The same seed gives the same result on the same machine.

        Args:
            problem: what was measured.
            seed: seed of the members.
            progress: called after every step, with the steps of all members.

        Returns:
            Mean, standard deviation and, if the problem asks for them, the samples.

        Raises:
            ValueError: all members diverged, or all but one.
        """
        return solve_with_held_out_scale(
            self._solve, problem, share=self.held_out, seed=seed, progress=progress
        )

    def _solve(self, problem: Problem, seed: int, progress: Progress | None) -> Estimate:
        work = _Work(method=self, problem=problem, seed=seed, progress=progress)
        chunks = in_chunks(work.members, n=self.n_members, at_once=work.at_once(), what="members")
        good = torch.cat([part.good for part in chunks.results])
        excluded = excluded_names(good, "ensemble: training of all members")
        samples = refilled(
            torch.cat([part.samples for part in chunks.results])[good].flatten(0, 1),
            self.n_samples,
        )
        mean, std = samples.mean(0), samples.std(0)
        diagnostics: dict[str, Setting] = {
            "loss": float(torch.cat([part.loss for part in chunks.results])[good].mean()),
            "tv_weight": float(torch.cat([part.tv_weight for part in chunks.results])[good].mean()),
            "chi_squared_per_ray": problem.chi_squared_per_ray(mean),
            "members_at_once": chunks.at_once,
        }
        if excluded:
            diagnostics["excluded_members"] = excluded
        return Estimate(
            mean=mean,
            std=std,
            samples=samples if problem.keep_samples else None,
            diagnostics=diagnostics,
        )


@dataclass(frozen=True, kw_only=True)
class _Members:
    samples: Float[Tensor, "members samples rows columns"]
    loss: Float[Tensor, " members"]
    tv_weight: Float[Tensor, " members"]
    good: Bool[Tensor, " members"]


class _Work:
    """One slice's members, trained and sampled by number."""

    def __init__(
        self, *, method: Ensemble, problem: Problem, seed: int, progress: Progress | None
    ) -> None:
        self._method, self._seed, self._progress = method, seed, progress
        self._checkpoint = problem.checkpoint
        self._values = network_range(problem, method.network)
        self._problem = self._values.normalised(problem)
        self._descent = Descent(
            steps=method.steps, learning_rate=method.learning_rate, tv_share=method.tv_share
        )
        self._reported = 0

    def at_once(self) -> int:
        """Return how many members the memory takes, measured on a step of one."""
        problem = self._problem
        problem.projector.T(problem.sinogram)  # weights that are made on first use do not count
        network = self._network(0)
        start = stacked([_params(network)])
        descent = replace(self._descent, steps=1)
        each = peak_bytes(lambda: train_members(network, start, measurements(problem), descent))
        return at_once(each, problem.sinogram.device, problem.memory_budget, what="member")

    def members(self, numbers: range) -> _Members:
        """Return the members of those numbers."""
        method = self._method
        networks = [self._network(number) for number in numbers]
        network, held = networks[0], differing_buffers(networks)
        dropout = UnitDropout(units=network.dropout_units, rate=method.dropout)
        clean = plain_rendering(network, held)
        trained = train_members(
            network,
            stacked([_params(one) for one in networks]),
            self._measurements(numbers),
            self._descent,
            render=dropout_rendering(
                network, dropout, seeds=self._seeds(_TRAINING, numbers), held=held
            ),
            clean=clean,
            report=lambda step: self._report(numbers, step),
            checkpoint=self._checkpoint.part(f"members-{numbers.start}-{numbers.stop - 1}"),
        )
        draws = dropout_rendering(network, dropout, seeds=self._seeds(_SAMPLES, numbers), held=held)
        with torch.no_grad():
            each = [draws(trained.params, index) for index in range(self._samples_each())]
        return _Members(
            samples=torch.stack([self._values.to_image(one) for one in each], dim=1),
            loss=trained.loss,
            tv_weight=trained.tv_weight,
            good=trained.good,
        )

    def _network(self, number: int) -> CoordinateImage:
        problem = self._problem
        return self._method.network.build(
            problem.grid.shape,
            start=self._values.level,
            generator=seeded_generator(self._seed, _INITIAL, number),
        ).to(problem.sinogram)

    def _measurements(self, numbers: range) -> Measurements:
        shared = measurements(self._problem)
        if not self._method.perturbed:
            return shared
        seeds = self._seeds(_NOISE, numbers)
        return replace(shared, sinogram=perturbed_sinograms(self._problem, seeds=seeds))

    def _seeds(self, place: int, numbers: range) -> list[int]:
        return [seeded_generator(self._seed, place, one).initial_seed() for one in numbers]

    def _samples_each(self) -> int:
        return self._method.n_samples // self._method.n_members

    def _report(self, numbers: range, step: int) -> None:
        if self._progress is None:
            return
        # a chunk that starts anew in smaller parts does not count backwards
        done = numbers.start * self._method.steps + len(numbers) * step
        self._reported = max(self._reported, done)
        self._progress(self._reported, self._method.n_members * self._method.steps)


def _params(network: CoordinateImage) -> Params:
    return {name: value.detach() for name, value in network.named_parameters()}
