"""NTK-randomised ensembles of coordinate networks: samples of the tangent kernel's posterior."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from bayesnn.checks import check_count, check_positive
from ct.inr.coordinates import ImageNetwork
from ct.inr.links import identity
from ct.inr.plain_settings import plain_settings
from ct.inr.wide_network import WideImage, WideNetwork
from ct.posterior.chunked import in_chunks, tensor_budget
from ct.posterior.excluded import excluded_names, refilled
from ct.posterior.held_out_views import check_held_out, solve_with_held_out_scale
from ct.posterior.image_model import image_model
from ct.posterior.ntkgp_members import FittedMembers, MemberWork
from ct.posterior.training import Descent
from ct.problem import Estimate, Problem, Progress, Setting
from ensembles.trainers.gauss_newton import GaussNewton, gauss_newton

SECOND_ORDER_SIZE = 4096
"""Rays, and pixels, up to which members are trained in second order, by matrices of this size."""


def ntkgp(
    *,
    network: ImageNetwork | None = None,
    n_members: int = 16,
    prior_std: float = 0.5,
    max_steps: int = 50,
    tolerance: float = 1e-4,
    adam_steps: int = 2000,
    learning_rate: float = 0.02,
    held_out: float = 0.1,
) -> NTKGP:
    """Make the reconstruction method whose members sample the posterior of the tangent kernel.

    The image is x = level + c · f̃ with f̃ = f(·, θ) + δ and c such that each pixel has the prior
    standard deviation `prior_std`. Member m draws θ₀ and θ* from the prior and ε_m ~ N(0, I), sets
    δ = J(·, θ₀)·θ* with the read-out's entries of θ* zero, and minimises over θ

        Σ_rays ½ ((A x − y − σ ε_m) / σ)² + ½ ‖θ − θ₀‖²

    from θ₀. δ does not change, so it is rendered once and, A being linear, its sinogram shifts the
    measurements. Under the tangent kernel Θ, f̃ is a draw from GP(0, Θ) at the start, and in the
    limit of infinite width a draw from the posterior Θ Aᵀ (A Θ Aᵀ + σ²)⁻¹ y after training. Members
    share the network's frequencies, so Θ is one kernel; `ct.infinite_width` is that posterior.

    Small scans (`SECOND_ORDER_SIZE`) are trained by damped Gauss–Newton steps in the space of
    the rays, in float64, which ends at the optimum; larger ones by Adam, which comes near it.

    Args:
        network: a `ct.inr.wide_network.WideNetwork`, whose prior is that of its initialisation,
            with the identity as its link; None for the default one.
        n_members: how many, at least 2.
        prior_std: prior standard deviation of a pixel, in units of the image's range.
        max_steps: Gauss–Newton steps at most.
        tolerance: a member is done when a step lowers its loss by less than this part.
        adam_steps: steps of Adam.
        learning_rate: Adam's largest step.
        held_out: share of the views that a first fit leaves out, to scale the error bars by
            them (`ct.posterior.held_out_views`); 0 leaves the posterior as it is.

    Returns:
        A method for `ct.reconstruct`.

    Raises:
        ValueError: a setting outside its range, or a network without such a prior and link.

    Source:
        B. He, B. Lakshminarayanan, Y. W. Teh, Bayesian deep ensembles via the neural tangent
        kernel, NeurIPS 2020, arXiv 2007.05864.

    Example:
        >>> ntkgp(n_members=4).n_samples
        4
    """
    return NTKGP(
        network=WideNetwork() if network is None else network,
        n_members=n_members,
        prior_std=prior_std,
        max_steps=max_steps,
        tolerance=tolerance,
        adam_steps=adam_steps,
        learning_rate=learning_rate,
        held_out=held_out,
    )


@dataclass(frozen=True, kw_only=True)
class NTKGP:
    """The method behind `ntkgp`, which says what the settings mean."""

    network: ImageNetwork
    n_members: int
    prior_std: float
    max_steps: int
    tolerance: float
    adam_steps: int
    learning_rate: float
    held_out: float

    def __post_init__(self) -> None:
        link = self.network.settings().get("link")
        if not isinstance(self.network, WideNetwork):
            raise ValueError(
                "network: expected one with a prior and a linear output, "
                f"ct.inr.wide_network.WideNetwork, got {self.network.name!r}."
            )
        if link != identity.name:
            raise ValueError(
                f"network: expected a linear output (link=identity), got the link {link!r}, under "
                "which images are no Gaussian process."
            )
        check_count(self.n_members, "n_members", minimum=2)
        for name in ("max_steps", "adam_steps"):
            check_count(getattr(self, name), name)
        for name in ("prior_std", "tolerance", "learning_rate"):
            check_positive(getattr(self, name), name)
        check_held_out(self.held_out)

    @property
    def name(self) -> str:
        """The command line's spelling."""
        return "ntkgp"

    @property
    def n_samples(self) -> int:
        """Samples behind `std`: one a member."""
        return self.n_members

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
        dtype = problem.sinogram.dtype
        trainer = self._trainer(problem)
        second_order = isinstance(trainer, GaussNewton)
        steps = self.max_steps if second_order else self.adam_steps
        if second_order:  # σ² is small beside A Θ Aᵀ, too small for float32
            problem = replace(
                problem,
                sinogram=problem.sinogram.double(),
                noise_std=problem.noise_std.double(),
            )
        model = image_model(problem, self.network, seed=seed)
        assert isinstance(model.network, WideImage)
        work = MemberWork(
            model.network, model.problem, prior_std=self.prior_std, seed=seed, trainer=trainer
        )
        reported = 0

        def report(numbers: range, step: int) -> None:
            nonlocal reported
            # a chunk that starts anew in smaller parts does not count backwards
            reported = max(reported, numbers.start * steps + len(numbers) * step)
            if progress is not None:
                progress(reported, self.n_members * steps)

        def members(numbers: range) -> FittedMembers:
            part = problem.checkpoint.part(f"members-{numbers.start}-{numbers.stop - 1}")
            fitted = work.members(numbers, part, lambda step: report(numbers, step))
            report(numbers, steps)  # they may have been done before
            return fitted

        chunks = in_chunks(members, n=self.n_members, at_once=work.at_once(), what="members")
        good = torch.cat([part.good for part in chunks.results])
        excluded = excluded_names(good, "ntkgp: training of all members")
        images = model.values.to_image(torch.cat([part.images for part in chunks.results])[good])
        samples = refilled(images, self.n_members).to(dtype)
        converged = torch.cat([part.converged for part in chunks.results])
        mean = samples.mean(0)
        diagnostics: dict[str, Setting] = {
            "trainer": "gauss-newton" if second_order else "adam",
            "chi_squared_per_ray": problem.chi_squared_per_ray(mean.to(problem.sinogram)),
            "converged_members": int(converged.sum()),
            "members_at_once": chunks.at_once,
        }
        if excluded:
            diagnostics["excluded_members"] = excluded
        return Estimate(
            mean=mean,
            std=samples.std(0),
            samples=samples if problem.keep_samples else None,
            diagnostics=diagnostics,
        )

    def _trainer(self, problem: Problem) -> GaussNewton | Descent:
        rows, columns = problem.grid.shape
        if max(problem.sinogram.numel(), rows * columns) <= SECOND_ORDER_SIZE:
            given = problem.memory_budget
            return gauss_newton(
                max_steps=self.max_steps,
                tolerance=self.tolerance,
                memory_budget=given and tensor_budget(problem.sinogram.device, given),
            )
        return Descent(steps=self.adam_steps, learning_rate=self.learning_rate)
