"""Hamiltonian Monte Carlo over images: chains that start from trained weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.checks import check_count, check_positive
from bayesnn.inference.chain_diagnostics import bulk_ess, split_r_hat, tail_ess
from bayesnn.inference.hmc import Kernel, no_u_turn
from bayesnn.inference.running_moments import RunningMoments
from bayesnn.inference.with_pyro import load_pyro
from bayesnn.seeds import seeded_generator
from ct.inr.coordinates import ImageNetwork
from ct.inr.pixel_grid import PixelGrid
from ct.inr.plain_settings import plain_settings
from ct.posterior.chain_coordinates import chain_coordinates
from ct.posterior.chain_fits import Fits, fit_members
from ct.posterior.excluded import excluded_names, refilled
from ct.posterior.held_out_views import check_held_out, solve_with_held_out_scale
from ct.posterior.hmc_chains import Draws, Sampling, run_chain
from ct.posterior.image_model import image_model
from ct.posterior.training import Descent, check_tv
from ct.problem import Estimate, Problem, Progress, Setting

# places of the random streams under a slice's seed, each with the chain's number behind it
_INITIAL, _FITS, _CHAINS = 0, 1, 2
_AT_ONCE = 64  # pixels and parameters of which chains are compared


def hmc(
    *,
    network: ImageNetwork | None = None,
    kernel: Kernel = no_u_turn,
    n_chains: int = 4,
    warm_up: int = 100,
    samples_per_chain: int = 50,
    thinning: int = 2,
    max_leapfrogs: int = 31,
    target_acceptance: float = 0.8,
    steps: int = 300,
    learning_rate: float = 0.05,
    tv_share: float = 1.0,
    prior_precision: float = 1.0,
    held_out: float = 0.1,
) -> HMC:
    """Make the reconstruction method that samples images by Hamiltonian Monte Carlo.

    The image is x(θ) = offset + scale · f_θ(pixels), with offset and scale taken from a filtered
    back-projection. Chains sample the posterior ∝ exp(−U(θ)) of

        U(θ) = Σ_rays ½ ((A x(θ) − y)/σ)² + ½ τ Σ_i fan-in_i θ_i² + w · TV(f_θ),

    the likelihood of every ray, a prior N(0, 1/(τ · fan-in)), and total variation, smoothed by a
    hundredth of the image's range. Each chain begins at a fit of its own, by Adam, from initial
    parameters of its own; w follows the fits' images as in `mc_dropout`, and then stays.

    Nothing is approximated but by the number of draws, so the diagnostics say what they are worth:
    `r_hat_max` and `r_hat_median` of up to 1,024 pixels (above 1.01 chains do not agree; above 1.1
    their spread cannot be trusted), `ess_bulk_min`, `ess_bulk_median` and `ess_tail_min` (effective
    sample sizes), the same of up to 1,024 parameters as far as it makes sense (`r_hat_params_max`:
    units of a network may swap, and the image stays), divergent transitions, acceptance, step size
    and gradients. A chain that diverges, or that does not move, is left out and named in
    `excluded_members`.

    A grid of pixels, the default, moves in coordinates in which all frequencies have about the
    same spread. On a CT slice of 64² from 30 views at 40 dB the default settings reach an R-hat of
    1.05 at most and 1.01 in the median, and 107 effective samples at least, in 24,000 gradients, a
    minute of one CPU core. Larger images need about as many gradients; without total variation, or
    with few and precise rays, chains need more `max_leapfrogs`. Pyro's adaptation is not to be
    trusted with a warm-up below about 50. Networks (`FeatureGrid`,
    `FourierNetwork`) move in units of their prior's standard deviation, and do not converge in such
    times: `FeatureGrid()` on such a scan reached, after 8,800 gradients of two chains, an R-hat of
    3.0, and its 95 % intervals covered 22 % of the pixels. Trust no spread above an R-hat of 1.1.

    Args:
        network: kind of image; None for `PixelGrid()`.
        kernel: `bayesnn.inference.hmc.no_u_turn` or `random_length`.
        n_chains: how many, at least 2: one alone has nobody to agree with.
        warm_up: transitions of each chain that adapt its step size and masses.
        samples_per_chain: samples behind the standard deviation, of each chain.
        thinning: transitions for each sample.
        max_leapfrogs: most leapfrog steps of a transition.
        target_acceptance: mean acceptance probability that step sizes are adapted to.
        steps: optimisation steps of the fit that a chain begins from.
        learning_rate: Adam's largest step, in the network's own units.
        tv_share: sets the weight of total variation, w = tv_share · pixels / TV(f), by the fits;
            0 leaves total variation out.
        prior_precision: τ.
        held_out: share of the views that first chains leave out, to scale the error bars by
            them (`ct.posterior.held_out_views`); 0 saves those and leaves the bars as they are.

    Returns:
        A method for `ct.reconstruct`.

    Raises:
        ValueError: a setting outside its range.

    Source:
        M. D. Hoffman, A. Gelman, The No-U-Turn sampler, JMLR 15, 2014. A. Vehtari et al.,
        Bayesian Analysis 16, 2021. F. Vasconcelos, B. He, N. Singh, Y. W. Teh, UncertaINR, TMLR
        2023, arXiv 2202.10847.

    Example:
        >>> hmc(n_chains=3, samples_per_chain=20).n_samples
        60
    """
    return HMC(
        network=PixelGrid() if network is None else network,
        kernel=kernel,
        n_chains=n_chains,
        warm_up=warm_up,
        samples_per_chain=samples_per_chain,
        thinning=thinning,
        max_leapfrogs=max_leapfrogs,
        target_acceptance=target_acceptance,
        steps=steps,
        learning_rate=learning_rate,
        tv_share=tv_share,
        prior_precision=prior_precision,
        held_out=held_out,
    )


@dataclass(frozen=True, kw_only=True)
class HMC:
    """The method behind `hmc`, which says what the settings mean."""

    network: ImageNetwork
    kernel: Kernel
    n_chains: int
    warm_up: int
    samples_per_chain: int
    thinning: int
    max_leapfrogs: int
    target_acceptance: float
    steps: int
    learning_rate: float
    tv_share: float
    prior_precision: float
    held_out: float

    def __post_init__(self) -> None:
        check_count(self.n_chains, "n_chains", minimum=2)
        check_count(self.samples_per_chain, "samples_per_chain")
        for name in ("warm_up", "thinning", "max_leapfrogs", "steps"):
            check_count(getattr(self, name), name)
        if self.samples_per_chain * self.thinning < 4:
            raise ValueError(
                "samples_per_chain: expected at least 4 transitions after the warm-up, to tell "
                f"whether chains agree, got {self.samples_per_chain} times {self.thinning} "
                "(thinning)."
            )
        if not 0 < self.target_acceptance < 1:
            raise ValueError(
                "target_acceptance: expected a probability between 0 and 1, got "
                f"{self.target_acceptance!r}."
            )
        check_positive(self.learning_rate, "learning_rate")
        check_tv(self.tv_share, "tv_share")
        check_positive(self.prior_precision, "prior_precision")
        check_held_out(self.held_out)

    @property
    def name(self) -> str:
        """The command line's spelling."""
        return "hmc"

    @property
    def n_samples(self) -> int:
        """Samples behind `std`: of all chains."""
        return self.n_chains * self.samples_per_chain

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
            seed: seed of the fits and the chains.
            progress: called after every step of the fits and every transition of the chains.

        Returns:
            Mean, standard deviation and, if the problem asks for them, the samples.

        Raises:
            ImportError: Pyro is not installed.
            ValueError: all chains diverged.
        """
        self.check_packages()  # before the fits, not after them
        return solve_with_held_out_scale(
            self._solve, problem, share=self.held_out, seed=seed, progress=progress
        )

    def _solve(self, problem: Problem, seed: int, progress: Progress | None) -> Estimate:
        work = _Work(method=self, problem=problem, seed=seed, progress=progress)
        fits = work.fits()
        chains = [work.chain(number, fits) for number in range(self.n_chains)]
        good = [chain for chain in chains if chain is not None and chain.good]
        excluded = excluded_names(
            torch.tensor([chain is not None and chain.good for chain in chains]), "hmc: all chains"
        )
        moments = reduce(RunningMoments.together, (chain.moments for chain in good))
        samples = None
        if problem.keep_samples:
            kept = [chain.samples for chain in good if chain.samples is not None]
            samples = refilled(torch.cat(kept), self.n_samples)
        diagnostics: dict[str, Setting] = {
            "tv_weight": fits.tv_weight,
            "chi_squared_per_ray": problem.chi_squared_per_ray(moments.mean),
            **_convergence(good),
        }
        if excluded:
            diagnostics["excluded_members"] = excluded
        return Estimate(
            mean=moments.mean, std=moments.std, samples=samples, diagnostics=diagnostics
        )


class _Work:
    """One slice's chains, by number."""

    def __init__(
        self, *, method: HMC, problem: Problem, seed: int, progress: Progress | None
    ) -> None:
        self._method, self._seed, self._progress = method, seed, progress
        self._checkpoint = problem.checkpoint
        self._done = 0
        # chains share the network, and what is drawn in it but not sampled
        self._model = image_model(problem, method.network, seed=seed, place=_INITIAL)
        self._sampling = Sampling(
            kernel=method.kernel,
            warm_up=method.warm_up,
            n_samples=method.samples_per_chain,
            thinning=method.thinning,
            target_acceptance=method.target_acceptance,
            max_leapfrogs=method.max_leapfrogs,
            keep_samples=problem.keep_samples,
        )

    def fits(self) -> Fits:
        """Return what the chains begin from."""
        method, model = self._method, self._model
        descent = Descent(
            steps=method.steps,
            learning_rate=method.learning_rate,
            tv_share=method.tv_share,
            regulariser=lambda members: (
                model.prior_energy(members, method.prior_precision) / model.problem.sinogram.numel()
            ),
        )
        networks = [
            method.network.build(
                model.problem.grid.shape,
                start=model.values.level,
                generator=seeded_generator(self._seed, _FITS, number),
            )
            for number in range(method.n_chains)
        ]
        return fit_members(
            model, networks, descent, report=self._report, checkpoint=self._checkpoint
        )

    def chain(self, number: int, fits: Fits) -> Draws | None:
        """Return what a chain drew; None if its fit diverged."""
        method, before = self._method, self._done
        start = fits.params[number]
        draws = None
        if start is not None:
            draws = run_chain(
                self._model,
                chain_coordinates(
                    self._model, precision=method.prior_precision, tv_weight=fits.tv_weight
                ),
                start,
                self._sampling,
                precision=method.prior_precision,
                tv_weight=fits.tv_weight,
                seed=seeded_generator(self._seed, _CHAINS, number).initial_seed(),
                report=lambda done: self._report(before + done),
                checkpoint=self._checkpoint.part(f"chain-{number}"),
            )
        self._report(before + self._sampling.transitions)
        return draws

    def _report(self, done: int) -> None:
        # what starts anew in smaller chunks does not count backwards
        self._done = max(self._done, done)
        if self._progress is not None:
            n_each = self._method.steps + self._sampling.transitions
            self._progress(self._done, self._method.n_chains * n_each)


def _convergence(chains: list[Draws]) -> dict[str, Setting]:
    pixels = torch.stack([chain.watched for chain in chains])
    params = torch.stack([chain.watched_params for chain in chains])
    r_hat, bulk = _in_parts(split_r_hat, pixels), _in_parts(bulk_ess, pixels)
    n_transitions = len(chains) * pixels.shape[1]
    return {
        "r_hat_max": float(r_hat.max()),
        "r_hat_median": float(r_hat.median()),
        "r_hat_params_max": float(_in_parts(split_r_hat, params).max()),
        "ess_bulk_min": float(bulk.min()),
        "ess_bulk_median": float(bulk.median()),
        "ess_tail_min": float(_in_parts(tail_ess, pixels).min()),
        "n_draws": n_transitions,
        "n_divergent": sum(chain.n_divergent for chain in chains),
        "acceptance": sum(chain.acceptance for chain in chains) / len(chains),
        "step_size": sum(chain.step_size for chain in chains) / len(chains),
        "n_gradients": sum(chain.n_evaluations for chain in chains),
    }


def _in_parts(
    diagnostic: Callable[[Tensor], Tensor], values: Float[Tensor, "chains draws n"]
) -> Float[Tensor, " n"]:
    """Return a diagnostic of each column, some of them at a time: each takes many copies."""
    return torch.cat([diagnostic(part) for part in torch.split(values, _AT_ONCE, dim=-1)])
