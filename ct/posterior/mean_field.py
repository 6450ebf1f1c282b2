"""Mean-field variational inference (Bayes by backprop) over images."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.checks import check_count, check_positive
from bayesnn.inference.mc_dropout import Params, sample_moments
from bayesnn.inference.mean_field import MeanFieldFit
from bayesnn.inference.with_pyro import load_pyro
from bayesnn.seeds import seeded_generator
from ct.checkpoint import Checkpoint
from ct.classical.total_variation import isotropic_tv
from ct.inr.coordinates import ImageNetwork
from ct.inr.feature_grid import FeatureGrid
from ct.inr.plain_settings import plain_settings
from ct.posterior.held_out_views import check_held_out, solve_with_held_out_scale
from ct.posterior.image_model import ImageModel, image_model
from ct.posterior.lone_network import note_lone_network
from ct.posterior.schedules import one_cycle
from ct.posterior.training import check_tv, likely_tv_weight
from ct.problem import Estimate, Problem, Progress, Setting

# places of the random streams under a slice's seed
_INITIAL, _FIT, _SAMPLES = 0, 1, 2
_FIRST_TV_WEIGHT = 10.0  # for the first tenth of the steps, while the image is still flat
_TV_EVERY = 10  # steps between two looks at the image


def mean_field(
    *,
    network: ImageNetwork | None = None,
    initial_std: float = 0.02,
    kl_weight: float = 1.0,
    steps: int = 1000,
    learning_rate: float = 0.03,
    draws_per_step: int = 1,
    tv_share: float = 0.4,
    prior_precision: float = 1.0,
    n_samples: int = 50,
    held_out: float = 0.1,
) -> MeanFieldMethod:
    """Make the reconstruction method that gives every parameter a Gaussian of its own.

    The image is x(θ) = offset + scale · f_θ(pixels), with offset and scale taken from a filtered
    back-projection, and q = Π N(m, v) over all parameters. Training lowers the whole negative
    evidence bound, in which every ray counts,

        E_q[Σ_rays ½ ((A x(θ) − y)/σ)² + w · TV(f_θ)] + κ · KL(q ‖ p),   p = N(0, 1/(τ · fan-in)),

    with Adam and a one-cycle learning rate. Samples are images x(θ) of θ ~ q, joint over the
    pixels.

    What independence costs is known where x is linear in θ, as for `PixelGrid` without total
    variation: m is the exact posterior mean, but v_i = 1/P_ii, with P the posterior's precision, is
    the variance of a pixel *given all others*. It is less than the marginal variance (P⁻¹)_ii
    wherever pixels are correlated, and pixels that share rays are. So this method says too little
    of its errors unless held-out views widen them; and samples are not correlated as the
    posterior is.

    Args:
        network: kind of coordinate network; None for `FeatureGrid()`.
        initial_std: the first √v, as a part of the prior's standard deviation.
        kl_weight: κ; 1 is Bayes' rule, less trusts the measurements more.
        steps: optimisation steps.
        learning_rate: Adam's largest step, in the network's own units and in log √v.
        draws_per_step: pairs of draws ±ε a step; more give less noisy standard deviations.
        tv_share: sets the weight of total variation, w = tv_share · pixels / TV(f), by the mean's
            image as it is trained; 0 leaves total variation out.
        prior_precision: τ.
        n_samples: how many samples stand behind mean and standard deviation, at least 2.
        held_out: share of the views that a first fit leaves out, to scale the error bars by
            them (`ct.posterior.held_out_views`); 0 saves that fit and leaves the bars as they are.

    Returns:
        A method for `ct.reconstruct`.

    Raises:
        ValueError: a setting outside its range.

    Source:
        C. Blundell, J. Cornebise, K. Kavukcuoglu, D. Wierstra, Weight uncertainty in neural
        networks, ICML 2015. F. Vasconcelos, B. He, N. Singh, Y. W. Teh, UncertaINR, TMLR 2023,
        arXiv 2202.10847.

    Example:
        >>> mean_field(steps=200).settings()["kl_weight"]
        1.0
    """
    return MeanFieldMethod(
        network=FeatureGrid() if network is None else network,
        initial_std=initial_std,
        kl_weight=kl_weight,
        steps=steps,
        learning_rate=learning_rate,
        draws_per_step=draws_per_step,
        tv_share=tv_share,
        prior_precision=prior_precision,
        n_samples=n_samples,
        held_out=held_out,
    )


@dataclass(frozen=True, kw_only=True)
class MeanFieldMethod:
    """The method behind `mean_field`, which says what the settings mean."""

    network: ImageNetwork
    initial_std: float
    kl_weight: float
    steps: int
    learning_rate: float
    draws_per_step: int
    tv_share: float
    prior_precision: float
    n_samples: int
    held_out: float

    def __post_init__(self) -> None:
        for name in ("initial_std", "kl_weight", "learning_rate", "prior_precision"):
            check_positive(getattr(self, name), name)
        check_count(self.steps, "steps")
        check_count(self.draws_per_step, "draws_per_step")
        check_tv(self.tv_share, "tv_share")
        check_count(self.n_samples, "n_samples", minimum=2)
        check_held_out(self.held_out)

    @property
    def name(self) -> str:
        """The command line's spelling."""
        return "mean-field"

    def settings(self) -> dict[str, Setting]:
        """Return every hyper-parameter by name, the network's after a dot."""
        return plain_settings(self)

    def check_packages(self) -> None:
        """Raise ImportError where Pyro is missing."""
        load_pyro("pyro")

    def solve(self, problem: Problem, *, seed: int, progress: Progress | None = None) -> Estimate:
        """Reconstruct one slice, twice where views are held out to scale the spread.

        The same seed gives the same result on the same machine.

        Args:
            problem: what was measured.
            seed: seed of the initial parameters, the training and the samples.
            progress: called after every step and sample.

        Returns:
            Mean, standard deviation and, if the problem asks for them, the samples.

        Raises:
            ImportError: Pyro is not installed.
            ValueError: training diverged.
        """
        self.check_packages()
        note_lone_network(problem, self.network)
        return solve_with_held_out_scale(
            self._solve, problem, share=self.held_out, seed=seed, progress=progress
        )

    def _solve(self, problem: Problem, seed: int, progress: Progress | None) -> Estimate:
        def report(done: int) -> None:
            if progress is not None:
                progress(done, self.steps + self.n_samples)

        model = image_model(problem, self.network, seed=seed, place=_INITIAL)
        trained = self._train(model, seed, report, problem.checkpoint.part("fit"))
        drawn = 0

        def image(params: Params) -> Tensor:
            nonlocal drawn
            drawn += 1
            report(self.steps + drawn)
            return model.image(params)

        q = trained.fit.posterior()
        moments = sample_moments(
            q.draw_functions(image, seed=seeded_generator(seed, _SAMPLES).initial_seed()),
            n_samples=self.n_samples,
            keep_samples=problem.keep_samples,
        )
        prior = model.prior_variance(self.prior_precision)
        shares = torch.cat([(std / prior[name] ** 0.5).flatten() for name, std in q.std.items()])
        return Estimate(
            mean=moments.mean,
            std=moments.std,
            samples=moments.samples,
            diagnostics={
                "negative_evidence_bound": trained.loss,
                "tv_weight": trained.tv_weight,
                "chi_squared_per_ray": problem.chi_squared_per_ray(moments.mean),
                # parameters of which the measurements said nothing are as wide as their prior
                "std_over_prior_median": float(shares.median()),
            },
        )

    def _train(
        self, model: ImageModel, seed: int, report: Callable[[int], None], checkpoint: Checkpoint
    ) -> _Trained:
        prior = model.prior_variance(self.prior_precision)
        fit = MeanFieldFit(
            model.initial_params(),
            prior_std={name: variance**0.5 for name, variance in prior.items()},
            initial_std=self.initial_std,
            kl_weight=self.kl_weight,
            n_draws=self.draws_per_step,
            step_factors=model.network.step_factors,
            seed=seeded_generator(seed, _FIT).initial_seed(),
        )
        weight = model.problem.sinogram.new_full((), _FIRST_TV_WEIGHT if self.tv_share > 0 else 0.0)
        loss = weight.new_zeros(())
        saved = checkpoint.load()
        if saved is not None:
            fit.restore(saved)
            weight, loss = (saved[name].to(weight) for name in ("tv_weight", "loss"))

        def energy(params: Params) -> Float[Tensor, ""]:
            image = model.render(params)
            return model.misfit(image) + weight * isotropic_tv(image)

        while (step := fit.n_steps) < self.steps:
            if self.tv_share > 0 and step % _TV_EVERY == 0 and step >= self.steps // 10:
                with torch.no_grad():
                    image = model.render(fit.posterior().mean)
                weight = self.tv_share * likely_tv_weight(image)
            rate = self.learning_rate * one_cycle((step + 0.5) / self.steps)
            loss = fit.step(energy, rate)
            if step + 1 == self.steps or checkpoint.due():
                checkpoint.save({**fit.state(), "tv_weight": weight, "loss": loss})
            report(step + 1)
        if not math.isfinite(float(loss)):
            raise ValueError(
                "mean-field: training diverged (the loss is no number any more); lower "
                "learning_rate, or check noise_std."
            )
        return _Trained(fit=fit, loss=float(loss), tv_weight=float(weight))


@dataclass(frozen=True, kw_only=True)
class _Trained:
    fit: MeanFieldFit
    loss: float
    tv_weight: float
