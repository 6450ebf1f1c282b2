"""A row of the toy's report."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

COLUMNS = (
    "what", "steps", "s", "loop's time / this", "side by side's time / this", "mean objective",
    "its ratio to the reference", "largest ratio of a member", "mean error, sd", "sd ratio",
)  # fmt: skip


@dataclass(kw_only=True)
class Outcome:
    """One row: a way to train, how long it took and where it led."""

    what: str
    steps: str = ""
    seconds: float | None = None
    objective: Tensor | None = None
    accuracy: tuple[float, float] | None = None
    failure: str = ""
    means_alone: bool = False  # the objective is known in the mean, not of each member

    def row(self, loop: Outcome, side_by_side: Outcome) -> tuple[str, ...]:
        """Return the row, against the two ways of gradient descent."""
        if self.failure:
            return (self.what, self.failure, *[""] * (len(COLUMNS) - 2))
        mean = ratio = largest = ""
        if self.objective is not None:
            mean = f"{float(self.objective.mean()):.5f}"
            if side_by_side.objective is not None:
                reference = side_by_side.objective
                ratio = f"{float(self.objective.mean() / reference.mean()):.3f}"
                if not side_by_side.means_alone:
                    largest = f"{float((self.objective / reference).max()):.3f}"
        error, spread = ("", "") if self.accuracy is None else (f"{v:.2f}" for v in self.accuracy)
        return (
            self.what, self.steps, "" if self.seconds is None else f"{self.seconds:.4g}",
            self._times(loop), self._times(side_by_side), mean, ratio, largest, error, spread,
        )  # fmt: skip

    def _times(self, other: Outcome) -> str:
        if self.seconds is None or other.seconds is None:
            return ""
        return f"{other.seconds / self.seconds:.3g}"
