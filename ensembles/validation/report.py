"""What a comparison with a reference posterior found: a table, JSON, a figure."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bayesnn.files import atomic_write, check_writable
from ensembles.validation.gaussian_test import GaussianTest
from ensembles.validation.point_errors import PointErrors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEAD = f"{'points':<12}{'n':>5}  {'mean error / sd':>22}  {'sd ratio':>18}   least   most"


@dataclass(frozen=True, kw_only=True)
class Curves:
    """What the figure shows, point by point.

    Attributes:
        x: the points, where an input is one number; None otherwise.
        mean: the members' mean.
        std: the members' standard deviation.
        reference_mean: the reference's mean.
        reference_std: its standard deviation, without the noise.
        near: which points are near the data; None where no prior variance was given.
        data: the training data as (x, y), where an input is one number and they are known.
    """

    x: tuple[float, ...] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    reference_mean: tuple[float, ...]
    reference_std: tuple[float, ...]
    near: tuple[bool, ...] | None
    data: tuple[tuple[float, ...], tuple[float, ...]] | None


@dataclass(frozen=True, kw_only=True)
class Validation:
    """How an ensemble compares with a reference posterior; `print` shows the table.

    Attributes:
        distribution: what the reference is.
        n_members: number of members.
        all_points: errors over all test points.
        near: errors where the data leave less than a fiftieth of the prior variance; None if
            nowhere.
        far: errors elsewhere; None if nowhere. Both None where no prior variance was given.
        covariance_error: ‖C − C_ref‖/‖C_ref‖ in the Frobenius norm.
        covariance_error_floor: what exact samples would score, on average.
        test: whether the members may be samples of the reference.
        curves: means and standard deviations at the points.
    """

    distribution: str
    n_members: int
    all_points: PointErrors
    near: PointErrors | None
    far: PointErrors | None
    covariance_error: float
    covariance_error_floor: float
    test: GaussianTest
    curves: Curves

    @property
    def p_value(self) -> float:
        """Probability that as many samples of the reference are at least as unlike it."""
        return self.test.p_value

    def accepts(self, level: float = 0.01) -> bool:
        """Return whether the members may be samples; false alarms come at the rate `level`.

        Args:
            level: the rate, at least 0.001: the test is calibrated by some thousand simulations.

        Raises:
            ValueError: a level outside [0.001, 1).
        """
        if not 0.001 <= level < 1:
            raise ValueError(f"level: expected a rate of at least 0.001 and below 1, got {level}.")
        return self.p_value >= level

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return asdict(self)

    def to_json(self) -> str:
        """Return everything as JSON."""
        return json.dumps(self.to_dict(), indent=1)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report as JSON, whole or not at all.

        Args:
            path: the file to be written or replaced.

        Raises:
            ValueError: the path cannot be written.
        """
        with atomic_write(check_writable(path)) as temporary:
            temporary.write_text(self.to_json() + "\n")

    def figure(self) -> Figure:
        """Return the figure: both distributions, ratio of standard deviations, error of the mean.

        Bands are two standard deviations; bars are one Monte-Carlo standard error. For inputs of
        more than one number, points stand over the reference's standard deviation.
        """
        from ensembles.validation.figure import draw

        return draw(self)

    def save_figure(self, path: str | os.PathLike[str]) -> None:
        """Write the figure, whole or not at all.

        Args:
            path: the picture; its suffix decides the format.

        Raises:
            ValueError: the path cannot be written.
        """
        target = check_writable(path)
        figure = self.figure()
        with atomic_write(target) as temporary:
            figure.savefig(temporary, dpi=150)

    def __str__(self) -> str:
        """Return the table."""
        lines = [f"{self.n_members} members against {self.distribution}", _HEAD]
        for name, part in (("all", self.all_points), ("near data", self.near), ("far", self.far)):
            if part is not None:
                lines.append(
                    f"{name:<12}{part.n_points:>5}  "
                    f"{part.mean_error:>8.3f} (exact {part.mean_error_floor:.3f})  "
                    f"{part.std_ratio:>8.3f} ± {part.std_ratio_error:<7.3f}  "
                    f"{part.least_std_ratio:>6.2f} {part.largest_std_ratio:>6.2f}"
                )
        test = self.test
        lines.append(
            f"covariance error {self.covariance_error:.3f} (exact samples: "
            f"{self.covariance_error_floor:.3f})"
        )
        lines.append(
            f"samples of the reference? p = {test.p_value:.4f} in {test.n_directions} directions "
            f"(mean {test.p_mean:.4f}, covariance {test.p_covariance:.4f})"
        )
        return "\n".join(lines)
