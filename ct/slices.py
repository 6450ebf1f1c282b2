"""Slices of one scan, one after the other or several at once, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.seeds import seeded_generator
from ct.budget_note import note_least
from ct.checkpoint import Checkpoint, Forgetful
from ct.diagnosis.check import Mismatch, mismatch
from ct.diagnosis.noise_level import noise_finding
from ct.geometry import ImageGrid, Scan
from ct.noise import estimate_noise_std
from ct.problem import Estimate, FrugalMethod, Method, Problem, Progress, StackMethod
from ct.projectors.operator import Projector

MEMORY_BUDGET = 256 * 2**20
"""Bytes that the slices in work may take together, where a method takes several at once and the
user did not say; a GPU's slices at least."""
_DEVICE_SHARE = 32
"""A GPU's memory over this is what its slices in work may take: several times what keeps it busy,
and few enough that an interruption loses little."""

MOST_EXAMINED = 32
"""Slices of a scan in which contradictions to its description are looked for, evenly spread."""
_WORKING_COPIES = 14  # measured: 13.8 for each slice of `cgls`
"""Images and sinograms of a slice that a method holds at once, unless it says (`FrugalMethod`): a
primal-dual one, the most, and what is read before and written after it. More slices at once would
be no faster, and more would be lost."""


@dataclass(frozen=True, kw_only=True)
class SliceSolver:
    """What all slices of a scan share: method, geometry and projector, made once.

    Attributes:
        method: the reconstruction method.
        projector: the linear map from image to sinogram.
        grid: where the pixels are.
        scan: where the rays are.
        device: where to compute.
        seed: seed of everything random; slice i draws from the stream (seed, i).
        keep_samples: whether the estimates shall hold their samples.
        slices: numbers of all slices of the work; what is examined follows from them.
        noise_given: whether the user said how noisy the rays are, so that it may be wrong.
        memory_budget: bytes that the slices in work may take together; None for `MEMORY_BUDGET` on
            a CPU, and on a GPU for a 32nd of its memory where that is more.
    """

    method: Method
    projector: Projector
    grid: ImageGrid
    scan: Scan
    device: torch.device
    seed: int
    keep_samples: bool
    slices: range
    noise_given: bool = False
    memory_budget: int | None = None

    @property
    def budget(self) -> int:
        """Bytes that the slices in work may take together."""
        if self.memory_budget is not None:
            return self.memory_budget
        if self.device.type != "cuda" or not torch.cuda.is_available():  # a cluster's, unknown here
            return MEMORY_BUDGET
        # whatever of it is free: the same run shall have the same chunks
        memory = int(torch.cuda.get_device_properties(self.device).total_memory)
        return max(MEMORY_BUDGET, memory // _DEVICE_SHARE)

    def chunk_length(self, dtype: torch.dtype) -> int:
        """Return how many slices are reconstructed at once, at least one.

        For methods that take one slice after the other it is 1, for others what fits into the
        memory budget. It does not depend on the number of slices.

        Warns:
            RuntimeWarning: one alone takes more than the budget that was given.
        """
        if not isinstance(self.method, StackMethod):
            return 1
        method = self.method
        copies = method.working_copies if isinstance(method, FrugalMethod) else _WORKING_COPIES
        rows, columns = self.grid.shape
        n_values = rows * columns + self.scan.n_views * self.scan.n_detectors
        each = copies * n_values * dtype.itemsize
        note_least(each, self.memory_budget, "a slice")
        return max(1, self.budget // each)

    def solve(
        self,
        sinograms: Float[Tensor, "slices views detectors"],
        noise_std: Sequence[Float[Tensor, "*views_detectors"] | None],
        *,
        first_slice: int = 0,
        checkpoint: Checkpoint | None = None,
        progress: Progress | None = None,
    ) -> list[SolvedSlice]:
        """Reconstruct slices, chunk by chunk.

        Args:
            sinograms: line integrals.
            noise_std: of each slice, one number or one a ray, infinite for rays that were not
                measured; None estimates one number.
            first_slice: number of the first slice, which decides the random streams.
            checkpoint: where the work on each slice may leave its state, in a part of its own;
                None for nowhere.
            progress: called with the steps of the method over all slices.

        Returns:
            Each slice's estimate and noise.

        Raises:
            ValueError: a slice's noise is to be estimated and cannot be.
        """
        length = self.chunk_length(sinograms.dtype)
        states = Forgetful() if checkpoint is None else checkpoint
        solved: list[SolvedSlice] = []
        for start in range(0, len(sinograms), length):
            part = sinograms[start : start + length]
            noises = [
                _estimated_noise(one, first_slice + start + place) if std is None else std
                for place, (one, std) in enumerate(
                    zip(part, noise_std[start : start + length], strict=True)
                )
            ]
            problems = [
                self._problem(one, std, states.part(f"slice-{first_slice + start + place}"))
                for place, (one, std) in enumerate(zip(part, noises, strict=True))
            ]
            report = _part_of(progress, start, len(part), len(sinograms))
            estimates = self._estimates(problems, first_slice + start, report)
            solved += [
                SolvedSlice(
                    estimate=self._with_reason(estimate),
                    noise_mean=_noise_mean(std),
                    mismatch=self._examine(problem, estimate, first_slice + start + place),
                )
                for place, (estimate, problem, std) in enumerate(
                    zip(estimates, problems, noises, strict=True)
                )
            ]
        return solved

    def _problem(
        self,
        one: Float[Tensor, "views detectors"],
        noise_std: Float[Tensor, "*views_detectors"],
        checkpoint: Checkpoint,
    ) -> Problem:
        sinogram = one.to(self.device)
        return Problem(
            sinogram=sinogram,
            noise_std=noise_std.to(sinogram).expand(sinogram.shape),
            projector=self.projector,
            grid=self.grid,
            scan=self.scan,
            keep_samples=self.keep_samples,
            checkpoint=checkpoint,
            memory_budget=self.memory_budget,
        )

    def _estimates(
        self, problems: list[Problem], first_slice: int, progress: Progress | None
    ) -> list[Estimate]:
        if isinstance(self.method, StackMethod):
            return self.method.solve_slices(problems, progress=progress)
        (problem,) = problems
        seed = seeded_generator(self.seed, first_slice).initial_seed()
        return [self.method.solve(problem, seed=seed, progress=progress)]

    def _with_reason(self, estimate: Estimate) -> Estimate:
        # error bars that should have been calibrated, and are as computed
        share, n_views = self.method.settings().get("held_out"), self.scan.n_views
        if estimate.std is None or estimate.calibration != "none" or not share:
            return estimate
        reason = f"none: {n_views} views are too few to hold out a share of {share} of them"
        return replace(estimate, calibration=reason)

    def _examine(self, problem: Problem, estimate: Estimate, index: int) -> Mismatch | None:
        step = math.ceil(len(self.slices) / MOST_EXAMINED)
        if (index - self.slices.start) % step:
            return None
        predicted = self.projector(estimate.mean)
        found = mismatch(problem.sinogram, predicted, problem.noise_std, self.scan, self.grid)
        if not self.noise_given:
            return found
        noise = noise_finding(problem.sinogram, problem.noise_std)
        return found if noise is None else replace(found, findings=(noise, *found.findings))


@dataclass(frozen=True, kw_only=True)
class SolvedSlice:
    """One slice's estimate, and what is to be said of its measurements.

    Attributes:
        estimate: the image and its uncertainty.
        noise_mean: mean noise of the rays that were measured, in the sinogram's units.
        mismatch: what in the measurements contradicts the scan's description, and how far the
            image's sinogram is from them; None where it was not looked for.
    """

    estimate: Estimate
    noise_mean: float
    mismatch: Mismatch | None


def _estimated_noise(one: Float[Tensor, "views detectors"], index: int) -> Float[Tensor, ""]:
    try:
        return torch.tensor(estimate_noise_std(one), dtype=torch.float64)
    except ValueError as error:
        raise ValueError(f"slice {index}: {error}") from error


def _noise_mean(noise_std: Float[Tensor, "*views_detectors"]) -> float:
    return float(noise_std[noise_std.isfinite()].double().mean())


def _part_of(progress: Progress | None, start: int, n_slices: int, n_all: int) -> Progress | None:
    """Return progress over all slices, from the steps of a method that has `n_slices` in work."""
    if progress is None:
        return None
    # a chunk's steps count for every slice of it
    return lambda done, total: progress(start * total + done * n_slices, n_all * total)
