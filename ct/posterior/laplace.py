"""Laplace: the posterior of a network that is linear around its best fit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.checks import check_count, check_positive
from bayesnn.seeds import seeded_generator
from ct.checkpoint import Checkpoint
from ct.inr.coordinates import ImageNetwork
from ct.inr.feature_grid import FeatureGrid
from ct.inr.plain_settings import plain_settings
from ct.posterior.chunked import in_chunks
from ct.posterior.held_out_views import check_held_out, solve_with_held_out_scale
from ct.posterior.image_model import ImageModel, image_model
from ct.posterior.laplace_fit import LaplaceFit, LaplaceModel, fit_laplace
from ct.posterior.lone_network import note_lone_network
from ct.posterior.side_by_side import member, stacked
from ct.posterior.training import Descent, Trained, check_tv, measurements, train_members
from ct.problem import Estimate, Problem, Progress, Setting

# places of the random streams under a slice's seed
_INITIAL, _FIT, _SAMPLES = 0, 1, 2


def laplace(
    *,
    network: ImageNetwork | None = None,
    steps: int = 1000,
    learning_rate: float = 0.03,
    tv_share: float = 0.4,
    prior_precision: float | None = None,
    tolerance: float = 0.05,
    rank: int = 100,
    max_iterations: int = 300,
    n_samples: int = 50,
    held_out: float = 0.1,
) -> Laplace:
    """Make the reconstruction method that samples images from a linearised network.

    The image is x(θ) = offset + scale · f_θ(pixels), with offset and scale taken from a filtered
    back-projection. A network is trained to θ̂, at about the minimum of

        Σ_rays ½ ((A x(θ) − y)/σ)² + w · TV(f_θ) + ½ τ Σ_i fan-in_i θ_i²,

    and replaced by its linearisation there, f_θ̂ + J(θ − θ̂). Its posterior is Gaussian: the mean is
    x(θ̂), the precision of θ is JᵀAᵀΣ⁻¹AJ + JᵀDᵀWDJ + τ·diag(fan-in). DᵀWD is the Gaussian that
    stands for total variation near the image (`ct.posterior.image_curvature`). Samples solve
    randomised problems by conjugate gradients, with products alone; they are joint over the pixels.

    For the grid of pixels with the identity as its link and without total variation nothing is
    approximated: then this is the exact posterior. Else it is the posterior's shape near one
    minimum, a Gaussian, which does not know of bounds that a link may set.

    Args:
        network: kind of coordinate network; None for `FeatureGrid()`.
        steps: optimisation steps of the fit.
        learning_rate: Adam's largest step, in the network's own units.
        tv_share: sets the weight of total variation, w = tv_share · pixels / TV(f), which follows
            the image; 0 leaves total variation out.
        prior_precision: τ, the parameters' prior being N(0, 1/(τ · fan-in)); None for the one that
            makes the measurements the most likely in the linear model. The fit is then without it.
        tolerance: of each solve, on its true residual in the preconditioner's norm, relative. What
            a solve leaves out keeps the prior's spread.
        rank: how many of the largest eigenvalues the solves' preconditioner takes away, fewer
            where they would take more than a quarter of the memory budget.
        max_iterations: of each solve; the diagnostics tell the residual that was reached.
        n_samples: how many samples stand behind the standard deviation, at least 2.
        held_out: share of the views that a first fit leaves out, to scale the error bars by
            them (`ct.posterior.held_out_views`); 0 saves that fit and leaves the bars as they are.

    Returns:
        A method for `ct.reconstruct`.

    Raises:
        ValueError: a setting outside its range.

    Source:
        J. Antorán et al., Uncertainty estimation for computed tomography with a linearised deep
        image prior, TMLR 2023, arXiv 2203.00479; Sampling-based inference for large linear models,
        with application to linearised Laplace, ICLR 2023, arXiv 2210.04994.

    Example:
        >>> laplace(prior_precision=3.0).settings()["prior_precision"]
        3.0
    """
    return Laplace(
        network=FeatureGrid() if network is None else network,
        steps=steps,
        learning_rate=learning_rate,
        tv_share=tv_share,
        prior_precision=prior_precision,
        tolerance=tolerance,
        rank=rank,
        max_iterations=max_iterations,
        n_samples=n_samples,
        held_out=held_out,
    )


@dataclass(frozen=True, kw_only=True)
class Laplace:
    """The method behind `laplace`, which says what the settings mean."""

    network: ImageNetwork
    steps: int
    learning_rate: float
    tv_share: float
    prior_precision: float | None
    tolerance: float
    rank: int
    max_iterations: int
    n_samples: int
    held_out: float

    def __post_init__(self) -> None:
        check_count(self.steps, "steps")
        check_positive(self.learning_rate, "learning_rate")
        check_tv(self.tv_share, "tv_share")
        if self.prior_precision is not None:
            check_positive(self.prior_precision, "prior_precision")
        check_positive(self.tolerance, "tolerance")
        check_count(self.rank, "rank", minimum=0)
        check_count(self.max_iterations, "max_iterations")
        check_count(self.n_samples, "n_samples", minimum=2)
        check_held_out(self.held_out)

    @property
    def name(self) -> str:
        """The command line's spelling."""
        return "laplace"

    def settings(self) -> dict[str, Setting]:
        """Return every hyper-parameter by name, the network's after a dot."""
        return plain_settings(self)

    def solve(self, problem: Problem, *, seed: int, progress: Progress | None = None) -> Estimate:
        """Reconstruct one slice, twice where views are held out to scale the spread.

        The same seed gives the same result on the same machine.

        Args:
            problem: what was measured.
            seed: seed of the initial parameters and the samples.
            progress: called after every step and chunk of samples.

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
        def report(done: int) -> None:
            if progress is not None:
                progress(done, self.steps + self.n_samples)

        model = image_model(problem, self.network, seed=seed, place=_INITIAL)
        trained = self._train(model, report, problem.checkpoint.part("fit"))
        fit = fit_laplace(
            LaplaceModel(
                image=model,
                tv_weight=trained.tv_weight[0],
                rank=self.rank,
                max_iterations=self.max_iterations,
                seed=seeded_generator(seed, _FIT).initial_seed(),
            ),
            member(trained.params, 0),
            prior_precision=self.prior_precision,
            tolerance=self.tolerance,
            checkpoint=problem.checkpoint.part("precision"),
        )
        drawn = _draw(
            fit,
            n_samples=self.n_samples,
            seed=seeded_generator(seed, _SAMPLES).initial_seed(),
            report=lambda done: report(self.steps + done),
            checkpoint=problem.checkpoint.part("samples"),
        )
        mean = model.values.to_image(fit.posterior.model.output)
        # the mean of the posterior is known, so that of the samples shall not blur it
        samples = mean + model.values.scale * (drawn.images - drawn.images.mean(0))
        return Estimate(
            mean=mean,
            std=samples.std(0),
            samples=samples if problem.keep_samples else None,
            diagnostics=_diagnostics(problem, model, trained, fit, drawn, mean),
        )

    def _train(
        self, model: ImageModel, report: Callable[[int], None], checkpoint: Checkpoint
    ) -> Trained:
        n_rays = model.problem.sinogram.numel()
        variances = model.prior_variance(self.prior_precision or math.inf)

        def regulariser(params: dict[str, Tensor]) -> Tensor:
            squares = [
                value.flatten(1).square().sum(1) / variances[name] for name, value in params.items()
            ]
            return torch.stack(squares).sum(0) / (2 * n_rays)

        trained = train_members(
            model.network,
            stacked([model.initial_params()]),
            measurements(model.problem),
            Descent(
                steps=self.steps,
                learning_rate=self.learning_rate,
                tv_share=self.tv_share,
                regulariser=None if self.prior_precision is None else regulariser,
            ),
            report=report,
            checkpoint=checkpoint,
        )
        trained.check(self.name)
        return trained


@dataclass(frozen=True)
class _Drawn:
    """Deviations of the image in the network's units, and how well they were solved for."""

    images: Float[Tensor, "samples rows columns"]
    residual: float
    at_once: int


def _draw(
    fit: LaplaceFit,
    *,
    n_samples: int,
    seed: int,
    report: Callable[[int], None],
    checkpoint: Checkpoint,
) -> _Drawn:
    """Draw the image's deviations J δ in chunks that fit the memory budget.

    Returns:
        The deviations of all samples, those that an interrupted run left included.
    """
    posterior, model = fit.posterior, fit.posterior.model
    saved = checkpoint.load() or {}
    images = model.output.new_zeros(n_samples, *model.output.shape)
    done, residual = 0, model.output.new_zeros(())
    if saved:
        done, residual = int(saved["done"]), saved["residual"].to(residual)
        images[:done] = saved["images"].to(images)
        report(done)

    def some(chunk: range) -> None:
        nonlocal done, residual
        if chunk.stop <= done:
            return
        solution = posterior.sample(chunk, seed=seed)
        images[chunk.start : chunk.stop] = model(solution.values)
        done, residual = chunk.stop, residual.maximum(solution.residual.amax())
        if checkpoint.due():
            state = {"images": images[:done], "residual": residual, "done": torch.tensor(done)}
            checkpoint.save(state)
        report(done)

    chunks = in_chunks(some, n=n_samples, at_once=fit.samples_at_once, what="samples")
    return _Drawn(images, float(residual), chunks.at_once)


def _diagnostics(
    problem: Problem,
    model: ImageModel,
    trained: Trained,
    fit: LaplaceFit,
    drawn: _Drawn,
    mean: Float[Tensor, "rows columns"],
) -> dict[str, Setting]:
    return {
        "loss": float(trained.loss[0]),
        "tv_weight": float(trained.tv_weight[0]),
        "prior_precision": fit.prior_precision,
        "prior_precision_source": fit.source,
        "solve_residual": drawn.residual,
        "samples_at_once": drawn.at_once,
        "chi_squared_per_ray": problem.chi_squared_per_ray(mean),
        "offset": model.values.offset,
        "scale": model.values.scale,
    }
