"""Total variation as a reconstruction method: one solve with a certificate, its weight found."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bayesnn.checks import check_count, check_positive
from ct.classical.primal_dual import Minimum, minimise, start
from ct.classical.primal_dual_metric import fourier_metric
from ct.classical.tv_differences import Lengths, isotropic
from ct.classical.tv_objective import tv_problem
from ct.classical.tv_weight import choose_weights
from ct.problem import Estimate, Problem, Progress, Setting

_STEPS = 1000  # of progress, the search for the weight being the first half
_SEARCH = 500


def tv(
    *,
    weight: float | None = None,
    norm: Lengths = isotropic,
    minimum: float | None = None,
    maximum: float | None = None,
    tolerance: float = 0.01,
    max_iterations: int = 1000,
) -> TotalVariation:
    """Make the reconstruction method that minimises a misfit plus total variation.

        x̂ = argmin ½ Σ_rays ((A x − y)/σ)² + λ TV(x),  TV(x) = Σ_pixels |D x|,

    by primal-dual steps in the metric of a filter, until the duality gap is small: the objective
    P(x̂) minus a lower bound that holds for every image. So x̂ is proven to be within the tolerance
    of the best, and its line integrals within √(2 gap/rays) noise standard deviations of the
    best image's (root mean square). Rays of infinite σ do not count.

    Args:
        weight: λ, in 1/(image units); None chooses each slice's from views held out
            (`ct.classical.tv_weight`), from measurements alone.
        norm: `isotropic` (all edges cost alike) or `anisotropic` (those along rows and columns
            cost least).
        minimum: least value of a pixel, such as 0 for attenuation; None for no bound, as Hounsfield
            units may be negative.
        maximum: greatest value of a pixel; None for no bound.
        tolerance: largest duality gap, as a share of the objective. At 0.01 images of CT slices
            differ from converged ones by less than 0.05 dB.
        max_iterations: where to stop regardless; the diagnostics say whether it converged.

    Returns:
        A method for `ct.reconstruct`; it gives no uncertainty.

    Raises:
        ValueError: a setting outside its range.

    Source:
        L. Rudin, S. Osher, E. Fatemi, Physica D 60, 1992. A. Chambolle, T. Pock, Journal of
        Mathematical Imaging and Vision 40, 2011.

    Example:
        >>> tv(weight=20.0, minimum=0.0).settings()["norm"]
        'isotropic'
    """
    return TotalVariation(
        weight=weight,
        norm=norm,
        minimum=minimum,
        maximum=maximum,
        tolerance=tolerance,
        max_iterations=max_iterations,
    )


@dataclass(frozen=True, kw_only=True)
class TotalVariation:
    """The method behind `tv`, which says what the settings mean."""

    weight: float | None
    norm: Lengths
    minimum: float | None
    maximum: float | None
    tolerance: float
    max_iterations: int

    def __post_init__(self) -> None:
        if self.weight is not None:
            check_positive(self.weight, "weight")
        for name in ("minimum", "maximum"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and math.isfinite(value)):
                raise ValueError(f"{name}: expected a finite number or None, got {value!r}.")
        if None not in {self.minimum, self.maximum} and not self._lower < self._upper:
            raise ValueError(
                f"maximum: expected more than minimum ({self.minimum}), got {self.maximum}."
            )
        if not (_is_number(self.tolerance) and 0 < self.tolerance < 1):
            raise ValueError(
                f"tolerance: expected a number between 0 and 1, got {self.tolerance!r}."
            )
        check_count(self.max_iterations, "max_iterations")

    @property
    def name(self) -> str:
        """The command line's spelling."""
        return "tv"

    @property
    def n_samples(self) -> int | None:
        """None: there is no uncertainty."""
        return None

    @property
    def working_copies(self) -> int:
        """Primal and dual images, their gradients and transforms, and those of the certificate."""
        return 50  # measured: 49 for each slice beyond the eighth

    def settings(self) -> dict[str, Setting]:
        """Return every setting, the norm by its name."""
        return {**vars(self), "norm": getattr(self.norm, "__name__", repr(self.norm))}

    def solve(self, problem: Problem, *, seed: int, progress: Progress | None = None) -> Estimate:
        """Reconstruct one slice; nothing is random, so the seed does nothing.

        Args:
            problem: what was measured.
            seed: ignored.
            progress: called with thousandths.

        Returns:
            The image, with weight, gap and misfit as diagnostics.
        """
        del seed
        return self.solve_slices([problem], progress=progress)[0]

    def solve_slices(
        self, problems: Sequence[Problem], *, progress: Progress | None = None
    ) -> list[Estimate]:
        """Reconstruct slices together, each with its own weight and its own end.

        Args:
            problems: slices that share projector, grid, scan, device and dtype.
            progress: called with thousandths.

        Returns:
            One estimate a slice.

        Raises:
            ValueError: a slice of which no ray was measured.
        """
        first = problems[0]
        together = tv_problem(problems, lengths=self.norm, lower=self._lower, upper=self._upper)
        if not bool((together.precision > 0).flatten(1).any(dim=1).all()):
            raise ValueError("noise_std: expected a finite value at one ray at least, got none.")
        metric = fourier_metric(first.projector, first.grid, first.scan, first.sinogram)
        if self.weight is None:
            chosen = choose_weights(together, metric, _part(progress, 0, _SEARCH))
            weights, state = chosen.weights, chosen.state
        else:
            weights = together.weights + self.weight
            state = start(together, metric)
        together = dataclasses.replace(together, weights=weights)
        found = minimise(
            together,
            metric,
            state,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            report=_part(progress, _SEARCH if self.weight is None else 0, _STEPS),
        )
        if progress is not None:
            progress(_STEPS, _STEPS)
        n_rays = (together.precision > 0).sum(dim=(-2, -1)).tolist()
        return [
            Estimate(
                mean=found.images[index],
                diagnostics={
                    "tv_weight": float(weights[index]),
                    "tv_weight_source": "held-out views" if self.weight is None else "given",
                    "converged": float(found.relative_gap[index]) <= self.tolerance,
                    **_numbers(found, index, n_rays[index]),
                },
            )
            for index in range(len(problems))
        ]

    def frozen(self, estimate: Estimate) -> TotalVariation:
        """Return the method with the weight that was chosen for an estimate.

        Args:
            estimate: what this method made of a slice.

        Returns:
            The same, its weight given.
        """
        return dataclasses.replace(self, weight=float(estimate.diagnostics["tv_weight"] or 0))

    @property
    def _lower(self) -> float:
        return -math.inf if self.minimum is None else self.minimum

    @property
    def _upper(self) -> float:
        return math.inf if self.maximum is None else self.maximum


def _numbers(found: Minimum, index: int, n_rays: int) -> dict[str, Setting]:
    return {
        "relative_gap": float(found.relative_gap[index]),
        "iterations": int(found.iterations[index]),
        "objective": float(found.objective[index]),
        "chi_squared_per_ray": float(found.chi_squared[index]) / n_rays,
    }


def _part(progress: Progress | None, first: int, last: int) -> Callable[[float], None] | None:
    if progress is None:
        return None
    return lambda share: progress(first + int(share * (last - first)), _STEPS)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
