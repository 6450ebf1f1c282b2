"""Plug-and-play reconstruction: what the rays say, and patches that resemble each other."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.checks import check_count, check_positive
from bayesnn.seeds import seeded_generator
from ct.classical.least_squares import least_squares, sum_of_squares
from ct.classical.primal_dual import minimise, start
from ct.classical.primal_dual_metric import Metric, fourier_metric
from ct.classical.tv_differences import isotropic
from ct.classical.tv_objective import tv_problem
from ct.nonlocal_prior.data_step import data_step
from ct.nonlocal_prior.patch_prior import PatchPrior
from ct.posterior.chunked import memory_budget
from ct.problem import Estimate, Problem, Progress, Setting

_FIRST_WEIGHT, _LAST_WEIGHT = 0.6, 80.0
"""Of the prior beside the rays, when each weighs as much as all rays through a pixel tell of it."""
_SOLVER_STEPS = 8
_MATCH_EVERY = 3
_DRAWN = 2  # images of noise that go through the same steps
_TV_WEIGHT = 1.25  # over the noise of a pixel; of the weights that served CT slices best
_TV_TOLERANCE, _TV_ITERATIONS = 0.1, 100  # where the iteration starts need not be converged


def bm3d(
    *,
    steps: int = 15,
    strength: float = 2.5,
    patch: int = 8,
    group: int = 16,
    reach: int = 16,
    stride: int = 3,
) -> BM3D:
    """Make the reconstruction method whose prior is that patches of an image resemble others.

    Half-quadratic splitting, for a weight ρ that grows from step to step:

        x ← argmin ½ Σ_rays ((A x − y)/σ)² + ρ/2 Σ_pixels t (x − v)²    (conjugate gradients)
        v ← BM3D(x; s)                                                 (groups of similar patches)

    starting with v from total variation, where t is what rays tell of a pixel. Nothing is learned
    from other images. The size s of what BM3D shall remove is `strength` times the noise that x
    still has: noise of the rays' size is sent through the same steps beside the image, and measured
    in each place, for each coefficient of a patch. So nothing depends on units, no weight needs to
    be chosen, and rays may be unequally noisy, as photons behind dense objects are. On piecewise
    constant objects in few views total variation (`ct.tv`) is about as accurate.

    Args:
        steps: how often both are done.
        strength: s over the noise in x; more of it smooths more.
        patch: pixels along a patch's side.
        group: the most patches of a group, a power of two.
        reach: how far apart patches of a group may lie, in pixels along either axis.
        stride: pixels between patches for which groups are formed.

    Returns:
        A method for `ct.reconstruct`; it gives no uncertainty.

    Raises:
        ValueError: a setting outside its range.

    Source:
        K. Dabov, A. Foi, V. Katkovnik, K. Egiazarian, IEEE Transactions on Image Processing 16,
        2007. Noise that is not white: Y. Mäkinen, L. Azzari, A. Foi, Collaborative filtering of
        correlated noise, IEEE Transactions on Image Processing 29, 2020. S. Venkatakrishnan,
        C. Bouman, B. Wohlberg, Plug-and-play priors for model based reconstruction, GlobalSIP 2013.
        Growing weights: K. Zhang et al., Plug-and-play image restoration with deep denoiser prior,
        IEEE TPAMI 44, 2022.

    Example:
        >>> bm3d(strength=3.5).settings()["strength"]
        3.5
    """
    return BM3D(
        steps=steps, strength=strength, patch=patch, group=group, reach=reach, stride=stride
    )


@dataclass(frozen=True, kw_only=True)
class BM3D:
    """The method behind `bm3d`, which says what the settings mean."""

    steps: int
    strength: float
    patch: int
    group: int
    reach: int
    stride: int

    def __post_init__(self) -> None:
        check_count(self.steps, "steps", minimum=2)
        check_positive(self.strength, "strength")
        for name in ("patch", "group", "reach", "stride"):
            check_count(getattr(self, name), name)
        if self.group & (self.group - 1):
            raise ValueError(f"group: expected a power of two, such as 16, got {self.group}.")
        if self.stride > self.patch:
            raise ValueError(
                f"stride: expected at most patch ({self.patch}), or pixels are left out, got "
                f"{self.stride}."
            )

    @property
    def name(self) -> str:
        """The command line's spelling."""
        return "bm3d"

    @property
    def n_samples(self) -> int | None:
        """None: there is no uncertainty."""
        return None

    @property
    def working_copies(self) -> int:
        """Images of conjugate gradients, of the image and of the noise beside it, in a process.

        Tensors take two thirds of them, and during work in patches less than a third; patches take
        as much again. A slice that is alone under a smaller budget holds that third and the
        smallest portion of patches (`portions_under`), which is more than 50 where the image has
        less than some 160 rows: 88 at 64² with the usual settings, some MiB.
        """
        return 75  # measured: 34 to 50 of tensors for each slice, 1.5 times that of a process

    def settings(self) -> dict[str, Setting]:
        """Return every setting."""
        return dict(vars(self))

    def solve(self, problem: Problem, *, seed: int, progress: Progress | None = None) -> Estimate:
        """Reconstruct one slice, without random numbers of the seed.

        Args:
            problem: what was measured.
            seed: ignored.
            progress: called with (steps done, steps in all).

        Returns:
            The image, with its misfit as diagnostic.
        """
        del seed
        return self.solve_slices([problem], progress=progress)[0]

    def solve_slices(
        self, problems: Sequence[Problem], *, progress: Progress | None = None
    ) -> list[Estimate]:
        """Reconstruct slices together.

        Args:
            problems: slices that share projector, grid, scan, device and dtype.
            progress: called with (steps done, steps in all).

        Returns:
            One estimate a slice.

        Raises:
            ValueError: a slice of which no ray was measured.
        """
        rays = least_squares(problems)
        if not bool((rays.precision > 0).flatten(1).any(dim=1).all()):
            raise ValueError("noise_std: expected a finite value at one ray at least, got none.")
        first = problems[0]
        metric = fourier_metric(first.projector, first.grid, first.scan, first.sinogram)
        noise = [_noise_of(one, seed) for seed in range(_DRAWN) for one in problems]
        step = data_step(least_squares([*problems, *noise]), metric.projection)
        saved = first.checkpoint.load()
        images = (
            _start(problems, metric, step.told[: len(problems)])
            if saved is None
            else saved["images"].to(first.sinogram)
        )
        prior = PatchPrior(
            images,
            patch=self.patch,
            group=self.group,
            reach=self.reach,
            stride=self.stride,
            budget=self._patch_budget(first),
        )
        begin, total = 0, self.steps + 1
        if saved is not None:
            begin = int(saved["done"])
            prior.matches = list(saved["matches"].to(images.device))
        if progress is not None:
            progress(1 + begin, total)
        growth = (_LAST_WEIGHT / _FIRST_WEIGHT) ** (1 / (self.steps - 1))
        for done in range(begin, self.steps):
            # the noise beside the images starts at zero, where it would be without rays
            guess = torch.cat([images, images.new_zeros(_DRAWN * len(problems), *first.grid.shape)])
            found = step(guess, _FIRST_WEIGHT * growth**done, _SOLVER_STEPS)
            together = found.view(1 + _DRAWN, len(problems), *first.grid.shape)
            images = prior.clean(
                together[0], together[1:], strength=self.strength, match=done % _MATCH_EVERY == 0
            )
            if progress is not None:
                progress(done + 2, total)
            if done + 1 == self.steps or first.checkpoint.due():
                first.checkpoint.save({
                    "done": torch.tensor(done + 1),
                    "images": images,
                    "matches": torch.stack(prior.matches),
                })
        residual = rays.precision.sqrt() * (rays.projector(images) - rays.sinograms)
        misfit = sum_of_squares(residual).flatten() / rays.n_rays
        return [
            Estimate(mean=image, diagnostics={"chi_squared_per_ray": float(one)})
            for image, one in zip(images, misfit, strict=True)
        ]

    def _patch_budget(self, problem: Problem) -> int:
        """Return the bytes that work in patches may take, of one slice after the other."""
        n_values = problem.sinogram.numel() + math.prod(problem.grid.shape)
        copies = self.working_copies * n_values * problem.sinogram.element_size()
        budget = memory_budget(problem.sinogram.device, problem.memory_budget)
        # a quarter is no slower than all of it
        return max(budget // 4, copies // 3)


def _start(
    problems: Sequence[Problem], metric: Metric, told: Float[Tensor, "slices rows columns"]
) -> Float[Tensor, "slices rows columns"]:
    """Return images of about the right total variation."""
    together = tv_problem(problems, lengths=isotropic)
    weights = _TV_WEIGHT * told.mean((-2, -1)).sqrt().double()
    together = dataclasses.replace(together, weights=weights)
    return minimise(
        together,
        metric,
        start(together, metric),
        tolerance=_TV_TOLERANCE,
        max_iterations=_TV_ITERATIONS,
    ).images


def _noise_of(problem: Problem, seed: int) -> Problem:
    """Return the same rays with nothing but noise on them, the same in each run."""
    std: Float[Tensor, "views detectors"] = problem.noise_std
    drawn = torch.randn(std.shape, generator=seeded_generator(seed), dtype=torch.float64)
    noise = torch.where(std.isfinite(), std, 0.0) * drawn.to(std)
    return dataclasses.replace(problem, sinogram=noise)
