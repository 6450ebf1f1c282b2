"""Any reconstruction with error bars that its own measurements calibrate, by leaving views out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from bayesnn.calibration import conformal_quantile
from bayesnn.checks import check_count
from bayesnn.seeds import seeded_generator
from ct.budget_note import note_least
from ct.checkpoint import remembered
from ct.half_width import LEVELS
from ct.nonlocal_prior.bm3d import bm3d
from ct.posterior.chunked import in_chunks, memory_budget
from ct.posterior.detail_parts import detail_parts
from ct.posterior.detail_spectrum import detail_spectrum
from ct.posterior.error_map import body_share, error_features, fit_error_variance
from ct.posterior.error_samples import error_parts, error_samples, known_gain
from ct.posterior.excluded import excluded_names
from ct.posterior.held_out_coverage import held_out_coverage
from ct.posterior.known_scan import known_scan, neighbours
from ct.posterior.missing_detail import HeldOutRays, missing_detail
from ct.posterior.ray_bands import ray_bands
from ct.posterior.view_folds import blind_spot, view_folds, without_fold
from ct.problem import Estimate, FrugalMethod, Problem, Progress, Setting, StackMethod

# places of the random streams under a slice's seed
_KNOWN_SCAN, _DETAIL, _SAMPLES = 0, 1, 2
_STEPS = 1000  # of progress
_MEAN, _FOLDS = 150, 575  # where the first two parts of the work end
_FEWEST_FOLDS = 2
_COPIES = 12  # of a slice that a method holds, unless it says
_OWN_COPIES = 200  # of images and sinograms that a slice's error bars take, and its samples beside
_PIXELS_BETWEEN_STATES = 2**18  # of folds that a CPU does together: tens of seconds of work


@runtime_checkable
class FreezableMethod(StackMethod, Protocol):
    """A method that makes choices for each slice, and can be held to those of one estimate."""

    def frozen(self, estimate: Estimate) -> StackMethod:
        """Return the method with the choices that the estimate's diagnostics name."""


def jackknife(
    *,
    mean: StackMethod | None = None,
    n_folds: int = 10,
    n_samples: int = 50,
) -> Jackknife:
    """Make the reconstruction method that gives another one's image calibrated error bars.

    Nothing but the measurements is used, and the other method R as it is:

    1. the image m = R(y), and K images that each lack a fold of the views, neighbours in direction
       being in different folds. Their spread is a jackknife's.
    2. the same for a simulated scan of m itself, whose views lie between the measured ones
       (`ct.posterior.known_scan`). Its errors are known, so they teach how large an error goes with
       how much spread, and how errors are distributed: log v₀(x) = f(Σ_j b_j log φ_j(x)), f rising.
    3. rays of the measured scan that were held out tell of errors of which the simulated scan knows
       nothing (`ct.posterior.missing_detail`): by how much its squared errors are too small, 1 + a,
       and the variance of detail that R flattens: c₁ inside the body, c₂ outside it, less along
       rays that are exact (`ct.posterior.detail_parts`), and c₃ v₀ where R is known to err, at
       edges. They follow from the rays' energies, filtered so that they are those of single
       pixels. Of edges' detail a quarter is taken to be missing in m too, of the other all.

    A pixel's variance is (1 + a + c₃/4) v₀ + c₁ b + c₂ h (1 − b), with b the body's share of its
    neighbourhood and h that of the detail which is missing along the rays through it (1 where all
    rays are equally noisy; c₁ then is one number, else it differs between the body's inside and its
    rim), and the half widths of intervals are quantiles of the simulated scan's errors,
    scaled alike, with detail of that variance added, whose tails are Student's with 6 degrees of
    freedom. Samples are correlated as the folds' images are; what these do not explain is detail as
    fine as held-out rays show it (`ct.posterior.detail_spectrum`).

    Held-out views tell nothing of directions that no view sees, outside a limited arc; where there
    are any, the result's `calibration` names them.

    Args:
        mean: R, which takes several problems at once and rays of infinite noise; None for
            `bm3d()`.
        n_folds: K; as many as there are views where there are fewer. It costs 2 K + 2
            reconstructions.
        n_samples: how many joint samples the estimate keeps where they are asked for.

    Returns:
        A method for `ct.reconstruct`.

    Raises:
        ValueError: a setting outside its range; for scans of fewer than three views.

    Source:
        B. Efron, C. Stein, The jackknife estimate of variance, Annals of Statistics 9, 1981.
        B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993. P. Whittle, Arkiv för
        Matematik 2, 1953 (variances from energies in frequency bands).

    Example:
        >>> jackknife(n_folds=5).settings()["mean"]
        'bm3d'
    """
    return Jackknife(mean=bm3d() if mean is None else mean, n_folds=n_folds, n_samples=n_samples)


@dataclass(frozen=True, kw_only=True)
class Jackknife:
    """The method behind `jackknife`, which says what the settings mean."""

    mean: StackMethod
    n_folds: int
    n_samples: int

    def __post_init__(self) -> None:
        if not isinstance(self.mean, StackMethod):
            raise ValueError(
                f"mean: expected a method that takes several slices at once, such as bm3d(), got "
                f"{self.mean!r}."
            )
        check_count(self.n_folds, "n_folds", minimum=3)
        check_count(self.n_samples, "n_samples", minimum=2)

    @property
    def name(self) -> str:
        """The command line's spelling."""
        return "jackknife"

    def settings(self) -> dict[str, Setting]:
        """Return every setting, those of the mean after a dot."""
        inner = {f"mean.{key}": value for key, value in self.mean.settings().items()}
        own = {"n_folds": self.n_folds, "n_samples": self.n_samples}
        return {"mean": self.mean.name, **own, **inner}

    def _note_least(self, problem: Problem) -> None:
        copies = _OWN_COPIES + self.n_samples * problem.keep_samples
        least = max(copies, _copies(self.mean)) * _bytes_of_copy(problem)
        note_least(least, problem.memory_budget, "a slice")

    def solve(self, problem: Problem, *, seed: int, progress: Progress | None = None) -> Estimate:
        """Reconstruct one slice.

        Args:
            problem: what was measured.
            seed: seed of the simulated scan's noise, the half widths and the samples.
            progress: called with thousandths.

        Returns:
            Image, standard deviation, half widths, and samples if the problem asks for them.

        Raises:
            ValueError: fewer than three views, or all folds diverged.
        """
        folds = view_folds(problem.scan, self.n_folds)
        self._note_least(problem)
        work = _Work(problem=problem, folds=folds, progress=progress)
        measured = work.reconstruct(self.mean, problem, 0, _MEAN, _FOLDS)
        known = known_scan(problem, measured.mean, seed=_seed(seed, _KNOWN_SCAN))
        again = work.reconstruct(measured.method, known, _FOLDS, _FOLDS + 20, _STEPS)
        rays = work.held_out_rays(measured, known, again)

        features = error_features(again.mean, again.images)
        error = (again.mean - measured.mean).double()
        variance = fit_error_variance(error, features)
        predicted = variance.at(error_features(measured.mean, measured.images))
        body = body_share(measured.mean)
        parts = detail_parts(
            predicted, body, problem.noise_std.square(), rays.measured, problem.projector
        )
        pixel_size = problem.grid.pixel_size
        bands = ray_bands(problem.scan, pixel_size, problem.sinogram.device)
        beyond = missing_detail(
            rays, parts.maps, problem.projector, bands, pixel_size, along_rays=parts.along_rays
        )
        detail = parts.variance(beyond.detail)
        std = (beyond.scale * predicted + detail).sqrt().to(problem.sinogram.dtype)
        half_widths = _half_widths(
            math.sqrt(beyond.scale) * error,
            beyond.scale * variance.at(features),
            detail,
            _seed(seed, _DETAIL),
        )
        coverage = held_out_coverage(rays, body, problem.projector, folds, LEVELS)
        samples = None
        if problem.keep_samples:
            parts_of_error = error_parts(std, measured.images, known_gain(error, again.images))
            samples = error_samples(
                measured.mean,
                std,
                parts_of_error,
                detail=detail_spectrum(rays, parts_of_error.explained, bands, pixel_size),
                n=self.n_samples,
                seed=_seed(seed, _SAMPLES),
            )
        if progress is not None:
            progress(_STEPS, _STEPS)
        diagnostics: dict[str, Setting] = {
            **measured.diagnostics,
            "error_scale": math.sqrt(beyond.scale),
            **parts.said(beyond.detail),
        }
        if measured.excluded:
            diagnostics["excluded_members"] = measured.excluded
        return Estimate(
            mean=measured.mean,
            std=std,
            samples=samples,
            calibration=_calibration(problem, int(folds.max()) + 1),
            half_widths=half_widths,
            held_out_coverage=coverage,
            diagnostics=diagnostics,
        )


@dataclass(frozen=True, kw_only=True)
class _Folded:
    """A scan's image, and those that lack a fold each."""

    method: StackMethod
    mean: Float[Tensor, "rows columns"]
    images: Float[Tensor, "folds rows columns"]
    places: list[int]  # the fold of each of the images
    excluded: str
    diagnostics: dict[str, Setting]


@dataclass(frozen=True, kw_only=True)
class _Work:
    problem: Problem
    folds: Int64[Tensor, " views"]
    progress: Progress | None

    def reconstruct(
        self, method: StackMethod, problem: Problem, start: int, middle: int, end: int
    ) -> _Folded:
        """Return the images of a scan; the folds' with the choices made for all views."""
        places = self.problem.checkpoint
        alone = replace(problem, checkpoint=places.part(f"image-{start}"))
        (whole,) = method.solve_slices([alone], progress=self._part(start, middle))
        if isinstance(method, FreezableMethod):
            method = method.frozen(whole)
        n = int(self.folds.max()) + 1

        def images_of(chunk: range) -> list[Tensor]:
            step = (end - middle) / n
            report = self._part(
                middle + round(step * chunk.start), middle + round(step * chunk.stop)
            )
            place = places.part(f"folds-{start}-{chunk.start}-{chunk.stop}")
            inside = replace(problem, checkpoint=place.part("work"))
            lacking = [without_fold(inside, self.folds, fold) for fold in chunk]
            found = remembered(
                place,
                lambda: {
                    "images": torch.stack([
                        one.mean for one in method.solve_slices(lacking, progress=report)
                    ])
                },
            )
            return list(found["images"].to(problem.sinogram))

        chunks = in_chunks(images_of, n=n, at_once=_at_once(method, problem), what="folds")
        images = torch.stack([image for chunk in chunks.results for image in chunk])
        good = images.isfinite().flatten(1).all(1)
        excluded = excluded_names(good.cpu(), f"jackknife: {method.name} of all folds")
        if int(good.sum()) < _FEWEST_FOLDS:
            raise ValueError(
                f"jackknife: {method.name} of all folds but one diverged, and one has no spread; "
                "check noise_std."
            )
        return _Folded(
            method=method,
            mean=whole.mean,
            images=images[good],
            places=good.nonzero().flatten().tolist(),
            excluded=excluded,
            diagnostics=whole.diagnostics,
        )

    def held_out_rays(self, measured: _Folded, known: Problem, again: _Folded) -> HeldOutRays:
        """Return what the folds' images make of the rays that they lack."""
        problem = self.problem
        predicted, held = self._predictions(problem, measured)
        found, held_again = self._predictions(known, again)
        error = known.projector(measured.mean) - found
        beside = neighbours(problem.scan).to(error.device)
        views = held & held_again[beside].all(0)
        rays = problem.noise_std.isfinite() & views[:, None]
        nowhere = torch.zeros_like(problem.sinogram)
        return HeldOutRays(
            residual=torch.where(rays, problem.sinogram - predicted, nowhere),
            noise_variance=torch.where(rays, problem.noise_std.square(), nowhere),
            measured=rays,
            predictable=error[beside],
        )

    def _predictions(self, problem: Problem, folded: _Folded) -> tuple[Tensor, Tensor]:
        """Return each view as the image that lacks it shows it, and which views there are."""
        predicted = torch.zeros_like(problem.sinogram)
        held = torch.zeros_like(self.folds, dtype=torch.bool)
        for image, fold in zip(folded.images, folded.places, strict=True):
            views = self.folds == fold
            held |= views
            predicted[views.to(predicted.device)] = problem.projector(image)[
                views.to(predicted.device)
            ]
        return predicted, held.to(predicted.device)

    def _part(self, start: int, end: int) -> Progress | None:
        report = self.progress
        if report is None:
            return None
        return lambda done, total: report(start + (end - start) * done // max(total, 1), _STEPS)


def _half_widths(
    error: Float64[Tensor, "rows columns"],
    predicted: Float64[Tensor, "rows columns"],
    detail: Float64[Tensor, "rows columns"],
    seed: int,
) -> dict[float, float]:
    """Return quantiles of known errors, with missing detail added, over what was predicted."""
    # detail is patchy, so its errors have heavier tails than a Gaussian's: Student's with 6 degrees
    # of freedom and variance 1; half of a chi-squared variable of 6 is a sum of 3 exponential ones
    generator = seeded_generator(seed)
    normal = torch.randn(error.shape, dtype=torch.float64, generator=generator)
    uniform = torch.rand((3, *error.shape), dtype=torch.float64, generator=generator)
    student = normal * (-uniform.log().sum(0) / 2).rsqrt()
    whole = error + detail.sqrt() * student.to(error.device)
    tiny = torch.finfo(torch.float64).tiny
    scores = whole.abs() / (predicted + detail).clamp(min=tiny).sqrt()
    return {level: float(conformal_quantile(scores, level)) for level in LEVELS}


def _calibration(problem: Problem, n_folds: int) -> str:
    text = f"views held out in {n_folds} folds, and a simulated scan of the image"
    return text + blind_spot(problem.scan)


def _at_once(method: StackMethod, problem: Problem) -> int:
    device = problem.sinogram.device
    budget = memory_budget(device, problem.memory_budget)
    most = budget // (_copies(method) * _bytes_of_copy(problem))
    if device.type == "cpu":
        most = min(most, _PIXELS_BETWEEN_STATES // math.prod(problem.grid.shape))
    return max(1, most)


def _copies(method: StackMethod) -> int:
    return method.working_copies if isinstance(method, FrugalMethod) else _COPIES


def _bytes_of_copy(problem: Problem) -> int:
    n_values = math.prod(problem.grid.shape) + problem.sinogram.numel()
    return n_values * problem.sinogram.element_size()


def _seed(seed: int, place: int) -> int:
    return seeded_generator(seed, place).initial_seed()
