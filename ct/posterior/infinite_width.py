"""The exact posterior of an infinitely wide network behind Fourier features, for a whole scan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from bayesnn.checks import as_finite_tensor, check_count, check_positive
from bayesnn.kernels import ntk
from bayesnn.seeds import seeded_generator
from ct.posterior.chunked import at_once, in_chunks
from ct.posterior.held_out_views import check_held_out, solve_with_held_out_scale
from ct.posterior.infinite_width_network import Activation, InfiniteNetwork, KernelOf
from ct.posterior.infinite_width_posterior import ScanPosterior
from ct.posterior.infinite_width_prior import ImagePrior, chosen_prior, posterior_of
from ct.posterior.infinite_width_samples import DrawnDeviations
from ct.problem import Estimate, Problem, Progress, Setting

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_SAMPLES = 0  # place of the random stream under a slice's seed


def infinite_width(
    *,
    kernel: KernelOf = ntk,
    depth: int = 6,
    activation: Activation = nn.functional.relu,
    weight_std: float = 1.5,
    bias_std: float = 0.05,
    frequencies: ArrayLike | Tensor | None = None,
    frequency_std: float | None = None,
    amplitude: float | None = None,
    unknown_level: bool = True,
    fit_noise: bool = False,
    tolerance: float = 2e-3,
    sample_tolerance: float = 3e-3,
    n_samples: int = 64,
    held_out: float = 0.0,
) -> InfiniteWidth:
    """Make the reconstruction method that computes a Gaussian process's posterior of the image.

    The prior is that of x = a·f, f an MLP of infinite width with a linear output behind Fourier
    features: a Gaussian process with the covariance a²κ(ρ), ρ = exp(−Ω₀²|x − x'|²/2) being the
    correlation of infinitely many features, and κ what `bayesnn.kernels` makes of it. κ(0), shared
    by all pixels, is the variance of the image's level, and that counts as unknown. With
    K = a²(κ(ρ) − κ(0)),

        mean = level + K Aᵀ(A K Aᵀ + Σ)⁻¹(y − A level),

    by FFTs and preconditioned conjugate gradients, and samples by Matheron's rule. Nothing else is
    approximated: the solves end at `tolerance`, and the samples are independent and joint over the
    pixels. 64 of them give each pixel's standard deviation to 9 %.

    It is linear in the measurements once its scales are chosen: the reference for other posteriors,
    not the most accurate image. Calibrated it is under its own prior.

    a and Ω₀, where not given, are those that make the scan's spectrum the most likely
    (`ct.posterior.infinite_width_likelihood`), and stand in the diagnostics.

    Args:
        kernel: `bayesnn.kernels.ntk` for Θ, the limit of trained networks (NTKGP), or
            `bayesnn.kernels.nngp` for K, that of Bayesian ones.
        depth: number of hidden layers.
        activation: of the hidden layers: a module such as `bayesnn.networks.Erf()`, or
            `torch.nn.functional.silu`, `relu`, `gelu`, `torch.tanh` or `torch.erf`.
        weight_std: prior standard deviation of all weights, times √fan_in.
        bias_std: prior standard deviation of all biases.
        frequencies: B of finitely many features, [n, 2], as `FourierFeatures.frequencies`, in
            radians per half the image's longer side (x to the right, y up); None for infinitely
            many. Then ρ = mean_i cos(b_i·(x − x')), solves are slower, and prior draws are sums of
            2000 waves: Gaussian but for a fourth moment of the order of 1/2000.
        frequency_std: Ω₀; None for the likeliest.
        amplitude: a, in the image's units; None for the likeliest.
        unknown_level: whether the level has an infinite variance; a²κ(0), as the network has it,
            otherwise.
        fit_noise: whether the noise, too, is multiplied by its likeliest factor; the diagnostics
            tell that factor anyway.
        tolerance: relative residual of the solves for the mean, in the preconditioner's norm; at
            512² and 60 views the mean is then 0.06 posterior standard deviations off.
        sample_tolerance: the same for samples, whose spread is then up to 3 % too wide.
        n_samples: how many samples stand behind the standard deviation, at least 2.
        held_out: share of the views that a first fit leaves out, to scale the error bars by
            them (`ct.posterior.held_out_views`); 0 leaves the exact posterior as it is.

    Returns:
        A method for `ct.reconstruct`.

    Raises:
        ValueError: a setting outside its range, frequencies of another shape, or both frequencies
            and frequency_std.

    Source:
        J. Lee et al., Deep neural networks as Gaussian processes, ICLR 2018, arXiv 1711.00165.
        C. R. Dietrich, G. N. Newsam, Fast and exact simulation of stationary Gaussian processes
        through circulant embedding of the covariance matrix, SIAM J. Sci. Comput. 18, 1997.

    Example:
        >>> infinite_width(frequency_std=40.0).settings()["frequency_std"]
        40.0
    """
    return InfiniteWidth(
        network=InfiniteNetwork(
            kernel=kernel,
            depth=depth,
            activation=activation,
            weight_std=weight_std,
            bias_std=bias_std,
        ),
        frequencies=None if frequencies is None else _rows(frequencies),
        frequency_std=frequency_std,
        amplitude=amplitude,
        unknown_level=unknown_level,
        fit_noise=fit_noise,
        tolerance=tolerance,
        sample_tolerance=sample_tolerance,
        n_samples=n_samples,
        held_out=held_out,
    )


@dataclass(frozen=True, kw_only=True)
class InfiniteWidth:
    """The method behind `infinite_width`, which says what the settings mean."""

    network: InfiniteNetwork
    frequencies: tuple[tuple[float, float], ...] | None
    frequency_std: float | None
    amplitude: float | None
    unknown_level: bool
    fit_noise: bool
    tolerance: float
    sample_tolerance: float
    n_samples: int
    held_out: float

    def __post_init__(self) -> None:
        for name in ("frequency_std", "amplitude"):
            value = getattr(self, name)
            if value is not None:
                check_positive(value, name)
        if self.frequencies is not None and self.frequency_std is not None:
            raise ValueError(
                "frequency_std: expected None beside frequencies, which are drawn already, got "
                f"{self.frequency_std!r}."
            )
        for name in ("tolerance", "sample_tolerance"):
            if not 0 < check_positive(getattr(self, name), name) < 1:
                raise ValueError(f"{name}: expected a number below 1, got {getattr(self, name)!r}.")
        check_count(self.n_samples, "n_samples", minimum=2)
        check_held_out(self.held_out)

    @property
    def name(self) -> str:
        """The command line's spelling."""
        return "infinite-width"

    def settings(self) -> dict[str, Setting]:
        """Return every hyper-parameter by name; of given frequencies, their number."""
        own = {key: value for key, value in vars(self).items() if key != "network"}
        n_frequencies = None if self.frequencies is None else len(self.frequencies)
        return {**self.network.settings(), **own, "frequencies": n_frequencies}

    def solve(self, problem: Problem, *, seed: int, progress: Progress | None = None) -> Estimate:
        """Reconstruct one slice, twice where views are held out to scale the spread.

        Args:
            problem: what was measured.
            seed: seed of the samples; the mean does not depend on it.
            progress: called after the mean and every chunk of samples.

        Returns:
            Mean, standard deviation and, if the problem asks for them, the samples.

        Raises:
            ValueError: no measured ray meets the image.
        """
        return solve_with_held_out_scale(
            self._solve, problem, share=self.held_out, seed=seed, progress=progress
        )

    def prior(self, problem: Problem) -> ImagePrior:
        """Return the prior of a scan's image, with the scales that were given or are likeliest.

        Args:
            problem: what was measured.
        """
        rows = self.frequencies
        return chosen_prior(
            problem,
            self.network,
            frequencies=None if rows is None else torch.tensor(rows, dtype=torch.float64),
            frequency_std=self.frequency_std,
            amplitude=self.amplitude,
            unknown_level=self.unknown_level,
            fit_noise=self.fit_noise,
        )

    def posterior(self, problem: Problem, prior: ImagePrior) -> ScanPosterior:
        """Return the posterior under a prior: its mean, and what draws from it.

        Args:
            problem: what was measured.
            prior: from `prior`.
        """
        noisier = replace(problem, noise_std=prior.scales.noise_factor * problem.noise_std)
        return posterior_of(noisier, prior, tolerance=self.tolerance)

    def _solve(self, problem: Problem, seed: int, progress: Progress | None) -> Estimate:
        def report(done: int) -> None:
            if progress is not None:
                progress(done, 1 + self.n_samples)

        prior = self.prior(problem)
        posterior = self.posterior(problem, prior)
        report(1)
        drawn = DrawnDeviations(
            posterior,
            seed=seeded_generator(seed, _SAMPLES).initial_seed(),
            tolerance=self.sample_tolerance,
            keep=problem.keep_samples,
            checkpoint=problem.checkpoint.part("samples"),
            report=lambda done: report(1 + done),
        )
        device, given = problem.sinogram.device, problem.memory_budget
        most = at_once(drawn.bytes_of_one, device, given, what="sample")
        chunks = in_chunks(drawn.add, n=self.n_samples, at_once=most, what="samples")
        del chunks
        mean, scales = posterior.mean, prior.scales
        return Estimate(
            mean=mean,
            std=drawn.std.to(mean),
            samples=drawn.samples(mean),
            diagnostics={
                "amplitude": prior.amplitude,
                "prior_std": scales.prior_std,
                "frequency_std": scales.frequency_std,
                "noise_factor": scales.noise_factor,
                "likely_noise_factor": prior.likely_noise_factor,
                "iterations": posterior.fit.iterations,
                "residual": max(
                    float(f.residuals.max()) for f in (posterior.fit, posterior.fit_of_ones)
                ),
                "sample_iterations": drawn.iterations,
                "sample_residual": drawn.residual,
                "least_eigenvalue": prior.kernel.least_eigenvalue,
                "prior_draws": prior.how_drawn,
                "chi_squared_per_ray": problem.chi_squared_per_ray(mean),
            },
        )


def _rows(frequencies: ArrayLike | Tensor) -> tuple[tuple[float, float], ...]:
    values: Float64[Tensor, "n d"] = as_finite_tensor(
        frequencies, "frequencies", ndim=(2,), dtype=torch.float64
    )
    if values.shape[1] != 2:
        raise ValueError(
            f"frequencies: expected shape [n, 2], one row a frequency, got {list(values.shape)}."
        )
    return tuple((float(x), float(y)) for x, y in values.tolist())
