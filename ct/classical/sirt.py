"""SIRT: every pixel moves by the mean of what the rays through it lack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.checks import check_count, check_positive
from ct.classical.least_squares import LeastSquares, least_squares, sum_of_squares
from ct.classical.stopping import Iterate, estimates_of
from ct.problem import Estimate, Problem, Progress, Setting

_STALLED = 0.8  # with it no simulated scan ended before its noise level
_MOST_ITERATIONS = 1000
_NEGLIGIBLE = 1e-6  # of the most: rays and pixels that hardly meet


def sirt(
    *, iterations: int | None = None, relaxation: float = 1.0, nonnegative: bool = False
) -> SIRT:
    """Make the method that iterates x ← x + ω C Aᵀ M (y − Ax) from x = 0.

    It goes towards the image of least ‖y − Ax‖²_M, details last, and is stopped before it has
    fitted the noise; see `sirt_iterates`. Rays that were not measured (infinite noise) have no
    influence, noisier ones less.

    Args:
        iterations: how many; None goes on until the residual is no more than the noise (χ² ≤ 1 a
            ray) or stalls (see `ct.classical.stopping`), at most 1,000, and so wants a noise
            level that is about right.
        relaxation: ω, above 0 and below 2. Near 2, iterations are fewer, but the first ones ring.
        nonnegative: keep all pixels at or above zero: for attenuation, not Hounsfield units.

    Returns:
        A method for `ct.reconstruct`; it gives no uncertainty.

    Raises:
        ValueError: a number out of its range.

    Example:
        >>> sirt(iterations=50).settings()
        {'iterations': 50, 'relaxation': 1.0, 'nonnegative': False}
    """
    if iterations is not None:
        iterations = check_count(iterations, "iterations")
    if not check_positive(relaxation, "relaxation") < 2:
        raise ValueError(f"relaxation: expected a number between 0 and 2, got {relaxation!r}.")
    return SIRT(iterations=iterations, relaxation=float(relaxation), nonnegative=nonnegative)


@dataclass(frozen=True, kw_only=True)
class SIRT:
    """The method behind `sirt`.

    Attributes:
        iterations: how many; None until the noise level.
        relaxation: ω.
        nonnegative: whether images are kept at or above zero.
    """

    iterations: int | None
    relaxation: float
    nonnegative: bool

    @property
    def name(self) -> str:
        """The command line's spelling."""
        return "sirt"

    @property
    def n_samples(self) -> int | None:
        """None: there is no uncertainty."""
        return None

    def settings(self) -> dict[str, Setting]:
        """Return all settings."""
        return {
            "iterations": self.iterations,
            "relaxation": self.relaxation,
            "nonnegative": self.nonnegative,
        }

    def solve(self, problem: Problem, *, seed: int, progress: Progress | None = None) -> Estimate:
        """Reconstruct one slice.

        Args:
            problem: what was measured.
            seed: ignored: nothing is random.
            progress: called with (iterations done, the most there may be).

        Returns:
            The image, without uncertainty.
        """
        del seed
        return self.solve_slices([problem], progress=progress)[0]

    def solve_slices(
        self, problems: Sequence[Problem], *, progress: Progress | None = None
    ) -> list[Estimate]:
        """Reconstruct slices of one scan together, each stopped on its own.

        Args:
            problems: what was measured.
            progress: called with (iterations done, the most there may be).

        Returns:
            The images, with `ct.classical.stopping`'s diagnostics.
        """
        iterates = sirt_iterates(
            least_squares(problems), relaxation=self.relaxation, nonnegative=self.nonnegative
        )
        return estimates_of(
            iterates, self.iterations, most=_MOST_ITERATIONS, stalled=_STALLED, progress=progress
        )


def sirt_iterates(
    problem: LeastSquares, *, relaxation: float, nonnegative: bool
) -> Iterator[Iterate]:
    """Yield the iterates of SIRT, without end.

    x ← x + ω C Aᵀ M (y − Ax), from x = 0, with M = diag(q_i / Σ_j A_ij), C = diag(1 / Σ_i A_ij q_i)
    and q_i = w_i / max w: textbook SIRT where the noise is the same in every ray. For 0 < ω < 2 it
    converges to the image of least ‖y − Ax‖²_M that pixels which no ray meets leave at zero, and
    no step increases that, because C⁻¹ − AᵀMA is positive semi-definite for any A ≥ 0.

    Args:
        problem: what to fit.
        relaxation: ω.
        nonnegative: whether each iterate's negative pixels become zero, which leads to the
            least among images ≥ 0.

    Yields:
        The starting point, then one an iteration.

    Source:
        J. Gregor, T. Benson, Computational analysis and improvement of SIRT, IEEE Transactions on
        Medical Imaging 27(7), 2008; the noise's weights change nothing in their argument.
    """
    A = problem.projector
    ray_weights, pixel_weights = sirt_weights(problem)
    scale = problem.precision.sqrt()
    images = problem.sinograms.new_zeros(len(problem.sinograms), *A.domain_shape)
    while True:
        residual = problem.sinograms - A(images)
        chi_squared = sum_of_squares(scale * residual).flatten() / problem.n_rays
        yield Iterate(images=images, chi_squared=chi_squared)
        images = images + relaxation * pixel_weights * A.T(ray_weights * residual)
        if nonnegative:
            images = images.clamp(min=0)


def sirt_weights(
    problem: LeastSquares,
) -> tuple[Float[Tensor, "slices views detectors"], Float[Tensor, "slices rows columns"]]:
    """Return the diagonals of M and C; zero for rays and pixels that meet nothing.

    Args:
        problem: projector and precision.

    Returns:
        Both, for every slice.
    """
    A = problem.projector
    relative = problem.precision / problem.precision.amax(dim=(-2, -1), keepdim=True)
    lengths = A(relative.new_ones(A.domain_shape))
    meets = lengths > _NEGLIGIBLE * lengths.max()
    relative = torch.where(meets, relative, 0.0)
    sums = A.T(relative)
    seen = sums > _NEGLIGIBLE * sums.amax(dim=(-2, -1), keepdim=True)
    return relative / torch.where(meets, lengths, 1.0), seen / torch.where(seen, sums, 1.0)
