"""Error bars calibrated on other scans whose truth is known: kept apart, named in the result."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.calibration import conformal_quantile
from ct.half_width import LEVELS
from ct.problem import Estimate, Method, Problem, Progress, Setting
from ct.result import Reconstruction


@dataclass(frozen=True, kw_only=True)
class OtherScans:
    """What scans with a known truth say of a method's intervals.

    Attributes:
        name: which scans, in words, for the results' metadata.
        method: the method's name; no other may use it.
        half_widths: of each level's interval, in standard deviations.
        n_slices: how many slices it comes from.
    """

    name: str
    method: str
    half_widths: Mapping[float, float]
    n_slices: int


def learn_from_scans(
    name: str,
    pairs: Sequence[tuple[Reconstruction, Float[Tensor, "*slices rows columns"]]],
) -> OtherScans:
    """Return half widths under which a method's intervals hold the truth of other scans.

    Conformal quantiles of |truth − mean| / std over all pixels of all slices. Nothing of this is
    ever used unasked: `calibrated_on` gives it to a method, whose results name it.

    Args:
        name: which scans, in words, such as "12 phantoms of our scanner".
        pairs: results of one method, each with its truth, of the same shape.

    Returns:
        The half widths.

    Raises:
        ValueError: no name, no results, results of several methods or without error bars, or a
            truth of another shape.
    """
    if not name or not pairs:
        raise ValueError("learn_from_scans: expected a name, and results with their truth.")
    methods = {str(result.metadata.get("method")) for result, _ in pairs}
    if len(methods) > 1:
        found = " and ".join(sorted(methods))
        raise ValueError(f"learn_from_scans: expected results of one method, got {found}.")
    scores, n_slices = [], 0
    for result, truth in pairs:
        if result.std is None:
            raise ValueError("learn_from_scans: expected results with error bars, got one without.")
        if truth.shape != result.mean.shape:
            raise ValueError(
                f"truth: expected the result's shape {list(result.mean.shape)}, got "
                f"{list(truth.shape)}."
            )
        error = truth.to(result.mean).double() - result.mean.double()
        tiny = torch.finfo(torch.float64).tiny
        scores.append((error.abs() / result.std.double().clamp(min=tiny)).flatten().cpu())
        n_slices += 1 if result.mean.ndim == 2 else len(result.mean)
    together = torch.cat(scores)
    return OtherScans(
        name=name,
        method=methods.pop(),
        half_widths={level: float(conformal_quantile(together, level)) for level in LEVELS},
        n_slices=n_slices,
    )


def calibrated_on(method: Method, scans: OtherScans) -> CalibratedElsewhere:
    """Make a method's intervals those that held the truth of other scans.

    Mean, standard deviation and samples stay as they are; only how many standard deviations an
    interval takes comes from elsewhere. Valid as far as this scan is like those.

    Args:
        method: with error bars.
        scans: what `learn_from_scans` found with the same method.

    Returns:
        The method, whose results name the scans in `calibration` and settings.

    Raises:
        ValueError: it was learnt with another method.
    """
    if method.name != scans.method:
        raise ValueError(
            f"calibrated_on: {scans.name!r} was learnt with {scans.method}, got {method.name}; "
            "learn it anew with this method."
        )
    return CalibratedElsewhere(method=method, scans=scans)


@dataclass(frozen=True, kw_only=True)
class CalibratedElsewhere:
    """The method behind `calibrated_on`."""

    method: Method
    scans: OtherScans

    @property
    def name(self) -> str:
        """The inner method's name."""
        return self.method.name

    @property
    def n_samples(self) -> int | None:
        """The inner method's number of samples."""
        return self.method.n_samples

    def settings(self) -> dict[str, Setting]:
        """Return the inner method's settings, and which scans."""
        return {**self.method.settings(), "calibrated_on": self.scans.name}

    def solve(self, problem: Problem, *, seed: int, progress: Progress | None = None) -> Estimate:
        """Reconstruct one slice.

        Args:
            problem: what was measured.
            seed: the inner method's.
            progress: the inner method's.

        Returns:
            The inner method's estimate with the other scans' half widths.
        """
        estimate = self.method.solve(problem, seed=seed, progress=progress)
        added = f"half widths from {self.scans.name} ({self.scans.n_slices} slices with a truth)"
        return dataclasses.replace(
            estimate,
            half_widths=self.scans.half_widths,
            # how those would cover held-out rays was not looked at
            held_out_coverage=None,
            calibration=f"{estimate.calibration}; {added}",
        )
