"""Deviations from a posterior mean, drawn in chunks and summed up as they come."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ct.checkpoint import Checkpoint
from ct.posterior.infinite_width_posterior import ScanPosterior

_COPIES = 10  # padded images, as complex spectra, that a solve holds for each system


class DrawnDeviations:
    """The samples so far: their sums, themselves where they are kept, and how well they solve.

    Goes on from a checkpoint: a sample depends on the seed and its number, not on the others.

    Args:
        posterior: what to draw from.
        seed: of all samples.
        tolerance: of their solves.
        keep: whether to keep the samples.
        checkpoint: where to leave the state.
        report: called with the number of samples after every chunk.
    """

    def __init__(
        self,
        posterior: ScanPosterior,
        *,
        seed: int,
        tolerance: float,
        keep: bool,
        checkpoint: Checkpoint,
        report: Callable[[int], None],
    ) -> None:
        self._posterior = posterior
        self._seed, self._tolerance, self._report = seed, tolerance, report
        self._checkpoint = checkpoint
        zeros = torch.zeros_like(posterior.mean, dtype=torch.float64)
        saved = checkpoint.load() or {}
        self._sum, self._squares = (saved.get(name, zeros).to(zeros) for name in ("sum", "squares"))
        self._kept: list[Tensor] | None = [] if keep else None
        if keep and "kept" in saved:
            self._kept = [saved["kept"].to(posterior.mean)]
        found = saved.get("solves", torch.zeros(3, dtype=torch.float64)).tolist()
        self.n, self.iterations, self.residual = int(found[0]), int(found[1]), float(found[2])

    @property
    def bytes_of_one(self) -> int:
        """Memory that a sample takes while it is drawn."""
        rows, columns = self._posterior.scan.kernel.padded
        return _COPIES * rows * columns * self._posterior.mean.element_size()

    def add(self, places: range) -> None:
        """Draw the samples of some numbers, those that are not there yet.

        Args:
            places: the next numbers.
        """
        places = range(max(places.start, self.n), places.stop)
        if not places:
            return
        deviations, fit = self._posterior.deviations(self._seed, places, tolerance=self._tolerance)
        exact = deviations.double()
        self._sum = self._sum + exact.sum(0)
        self._squares = self._squares + exact.square().sum(0)
        if self._kept is not None:
            self._kept.append(deviations)
        self.n = places.stop
        self.iterations = max(self.iterations, fit.iterations)
        self.residual = max(self.residual, float(fit.residuals.max()))
        if self._checkpoint.due():
            self._checkpoint.save(self._state())
        self._report(self.n)

    @property
    def std(self) -> Float64[Tensor, "rows columns"]:
        """The samples' standard deviation; their sum is near 0, so nothing cancels."""
        return ((self._squares - self._sum.square() / self.n) / (self.n - 1)).clamp(min=0).sqrt()

    def samples(
        self, mean: Float[Tensor, "rows columns"]
    ) -> Float[Tensor, "samples rows columns"] | None:
        """Return the samples around a mean that is known, so that theirs shall not blur it."""
        if self._kept is None:
            return None
        return torch.cat(self._kept) + (mean - (self._sum / self.n).to(mean))

    def _state(self) -> dict[str, Tensor]:
        solves = [float(self.n), float(self.iterations), self.residual]
        state = {
            "sum": self._sum,
            "squares": self._squares,
            "solves": torch.tensor(solves, dtype=torch.float64),
        }
        return state if self._kept is None else {**state, "kept": torch.cat(self._kept)}
