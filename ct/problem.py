"""What a reconstruction method gets and what it gives back, for one slice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from ct.checkpoint import Checkpoint, Forgetful

if TYPE_CHECKING:
    from ct.geometry import ImageGrid, Scan
    from ct.projectors.operator import Projector

Setting: TypeAlias = str | int | float | bool | None
Progress: TypeAlias = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One slice to reconstruct: checked, on one device, in one dtype.

    Attributes:
        sinogram: line integrals, in image units times mm.
        noise_std: standard deviation of each ray's noise, in the sinogram's units; infinity for
            rays that were not measured (dead bins), whose value in `sinogram` is a guess.
        projector: the linear map from image to sinogram.
        grid: where the pixels are.
        scan: where the rays are.
        keep_samples: whether the estimate shall hold its samples, where the method has any.
        checkpoint: where long work may leave its state.
        memory_budget: bytes that what is in work at once may take; None for a default that the
            device decides.
    """

    sinogram: Float[Tensor, "views detectors"]
    noise_std: Float[Tensor, "views detectors"]
    projector: Projector
    grid: ImageGrid
    scan: Scan
    keep_samples: bool = False
    checkpoint: Checkpoint = field(default_factory=Forgetful)
    memory_budget: int | None = None

    def chi_squared_per_ray(self, image: Float[Tensor, "rows columns"]) -> float:
        """Return the mean of ((A x − y)/σ)² over the rays that were measured."""
        residual = (self.projector(image) - self.sinogram) / self.noise_std
        return float(residual[self.noise_std.isfinite()].square().mean())


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One slice's image and, from Bayesian methods, its uncertainty (no measurement noise).

    Attributes:
        mean: the image.
        std: posterior standard deviation of each pixel; None for methods without uncertainty.
        samples: joint posterior samples; None where the method has none or did not keep them.
        calibration: how the spread was corrected, in words; "none" where it is as computed.
        half_widths: half the width of the central interval of each level, in standard deviations,
            as measurements calibrated it; None for Student's t of the number of samples.
        held_out_coverage: share of rays that were held out that the interval of each level for them
            covers, where any were.
        diagnostics: numbers worth keeping beside the result, such as the final loss.
    """

    mean: Float[Tensor, "rows columns"]
    std: Float[Tensor, "rows columns"] | None = None
    samples: Float[Tensor, "samples rows columns"] | None = None
    calibration: str = "none"
    half_widths: Mapping[float, float] | None = None
    held_out_coverage: Mapping[float, float] | None = None
    diagnostics: dict[str, Setting] = field(default_factory=dict)


@runtime_checkable
class Method(Protocol):
    """A reconstruction method: frozen settings and one function.

    Attributes:
        name: as the command line spells it, such as "mc-dropout".
        n_samples: how many samples stand behind `std`; None where there is no uncertainty.
    """

    @property
    def name(self) -> str:
        """The command line's spelling."""

    @property
    def n_samples(self) -> int | None:
        """Samples behind `std`."""

    def settings(self) -> dict[str, Setting]:
        """Every hyper-parameter by name, for the result's metadata."""

    def solve(self, problem: Problem, *, seed: int, progress: Progress | None = None) -> Estimate:
        """Reconstruct one slice; the same seed gives the same result."""


@runtime_checkable
class PackagedMethod(Method, Protocol):
    """A method that needs a package which may be missing."""

    def check_packages(self) -> None:
        """Raise ImportError, with the remedy, where it is."""


@runtime_checkable
class StackMethod(Method, Protocol):
    """A method that reconstructs several slices faster together than one after the other.

    Nothing in it is random. Each slice's result is that of `solve` alone, to rounding.
    """

    def solve_slices(
        self, problems: Sequence[Problem], *, progress: Progress | None = None
    ) -> list[Estimate]:
        """Reconstruct slices that share projector, grid, scan, device and dtype.

        How many come at once is bounded by the problems' `memory_budget`.
        """


@runtime_checkable
class FrugalMethod(StackMethod, Protocol):
    """A method that says how much memory a slice takes, and so how many it gets at once.

    Attributes:
        working_copies: images and sinograms of a slice that it holds at once.
    """

    @property
    def working_copies(self) -> int:
        """Images and sinograms of a slice at once."""
