"""Where the pixels and the rays are: pure data, and its form in files."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor

from bayesnn.checks import as_finite_tensor, check_count, check_positive

_FORMAT_VERSION = 1
_LARGEST_ANGLE = 4 * math.pi  # two turns; whoever writes degrees passes it at once


@dataclass(frozen=True, init=False)
class ImageGrid:
    """Square pixels around the origin: row 0 at the top, x to the right, y up.

    Attributes:
        shape: numbers of rows and columns.
        pixel_size: side of a pixel in mm.

    Raises:
        ValueError: the shape is not two whole numbers above zero, or the size not above zero.

    Example:
        >>> grid = ImageGrid(shape=(2, 3), pixel_size=0.5)
        >>> grid.x_positions.tolist(), grid.y_positions.tolist()
        ([-0.5, 0.0, 0.5], [0.25, -0.25])
    """

    shape: tuple[int, int]
    pixel_size: float

    def __init__(self, shape: Sequence[int], pixel_size: float = 1.0) -> None:
        try:
            rows, columns = shape
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"shape: expected two whole numbers (rows, columns), got {shape!r}."
            ) from error
        checked = (check_count(rows, "shape: rows"), check_count(columns, "shape: columns"))
        object.__setattr__(self, "shape", checked)
        object.__setattr__(self, "pixel_size", check_positive(pixel_size, "pixel_size"))

    @property
    def x_positions(self) -> Float64[Tensor, " columns"]:
        """The x of each column's pixel centres in mm, growing with the index."""
        return _centred(self.shape[1]) * self.pixel_size

    @property
    def y_positions(self) -> Float64[Tensor, " rows"]:
        """The y of each row's pixel centres in mm, falling with the index: row 0 is the top."""
        return _centred(self.shape[0]).flip(0) * self.pixel_size


@dataclass(frozen=True, init=False)
class ParallelBeam:
    """Parallel rays: bin k of the view at angle θ sees the line x cos θ + y sin θ = s_k.

    s_k = (k − center) · detector_spacing, and angles are counter-clockwise; the same as
    `skimage.transform.radon` (which takes degrees) and ASTRA's `parallel` geometry.

    Attributes:
        angles: one a view, in radians, in any order; any sequence or array, kept as a tuple.
        n_detectors: detector bins in a view.
        detector_spacing: distance between the centres of two bins in mm.
        center: the detector index, whole or not, that the origin projects to;
            None becomes (n_detectors − 1)/2.

    Raises:
        ValueError: no angles, angles that are not finite or are degrees, no bins, a spacing not
            above zero, a centre that is not finite.

    Example:
        >>> scan = ParallelBeam(angles=[0.0, 1.5], n_detectors=4, detector_spacing=2.0)
        >>> scan.n_views, scan.center, scan.detector_positions.tolist()
        (2, 1.5, [-3.0, -1.0, 1.0, 3.0])
    """

    angles: tuple[float, ...]
    n_detectors: int
    detector_spacing: float
    center: float

    def __init__(
        self,
        angles: Sequence[float] | NDArray[Any] | Tensor,
        n_detectors: int,
        detector_spacing: float = 1.0,
        center: float | None = None,
    ) -> None:
        radians = as_finite_tensor(angles, "angles", ndim=(1,), dtype=torch.float64)
        largest = float(radians.abs().max())
        if largest > _LARGEST_ANGLE:
            raise ValueError(
                f"angles: expected radians within ±4π, got {largest:g}; convert degrees with "
                "numpy.deg2rad, and reduce angles of several turns modulo 2π."
            )
        n_bins = check_count(n_detectors, "n_detectors")
        middle = (n_bins - 1) / 2 if center is None else _finite(center, "center")
        # tuples and plain numbers, so that scans are hashable and their repr is code
        object.__setattr__(self, "angles", tuple(radians.tolist()))
        object.__setattr__(self, "n_detectors", n_bins)
        spacing = check_positive(detector_spacing, "detector_spacing")
        object.__setattr__(self, "detector_spacing", spacing)
        object.__setattr__(self, "center", middle)

    @property
    def n_views(self) -> int:
        """How many angles there are."""
        return len(self.angles)

    @property
    def detector_positions(self) -> Float64[Tensor, " detectors"]:
        """The coordinate s of each bin's centre in mm."""
        index = torch.arange(self.n_detectors, dtype=torch.float64)
        return (index - self.center) * self.detector_spacing


Scan: TypeAlias = ParallelBeam
"""Any scan geometry; one more kind is one more dataclass here and one more entry in `_KINDS`."""

_KINDS: dict[str, type[Scan]] = {"parallel-beam": ParallelBeam}


def geometry_to_json(grid: ImageGrid, scan: Scan) -> str:
    """Write grid and scan as one JSON object, exactly: reading it back gives equal ones.

    Args:
        grid: where the pixels are.
        scan: where the rays are.

    Returns:
        {"version": 1, "grid": {…}, "scan": {"kind": "parallel-beam", …}} with mm and radians.

    Example:
        >>> text = geometry_to_json(ImageGrid((2, 2)), ParallelBeam((0.0,), 3))
        >>> geometry_from_json(text) == (ImageGrid((2, 2)), ParallelBeam((0.0,), 3))
        True
    """
    kind = next(kind for kind, scan_type in _KINDS.items() if isinstance(scan, scan_type))
    # vars() keeps the fields' order; every field is a number or a tuple of numbers
    return json.dumps({
        "version": _FORMAT_VERSION,
        "grid": vars(grid),
        "scan": {"kind": kind, **vars(scan)},
    })


def geometry_from_json(text: str) -> tuple[ImageGrid, Scan]:
    """Read what `geometry_to_json` wrote.

    Args:
        text: the JSON object.

    Returns:
        The grid and the scan.

    Raises:
        ValueError: not JSON, of a later version, of an unknown kind, or with fields that are
            missing, unknown or impossible.
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"geometry: expected a JSON object, got {text[:40]!r} ({error})."
        ) from None
    if not isinstance(content, dict) or content.get("version") != _FORMAT_VERSION:
        version = content.get("version") if isinstance(content, dict) else None
        raise ValueError(
            f"geometry: expected version {_FORMAT_VERSION}, got {version!r}; the file is foreign "
            "or was written by a later release."
        )
    fields = dict(_object(content, "scan"))
    kind = fields.pop("kind", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        known = ", ".join(_KINDS)
        raise ValueError(f"geometry: expected a scan of kind {known}, got {kind!r}.")
    try:
        return ImageGrid(**_object(content, "grid")), _KINDS[kind](**fields)
    except TypeError as error:  # fields missing or unknown
        raise ValueError(f"geometry: {error}.") from error


def _object(content: dict[str, Any], key: str) -> dict[str, Any]:
    value = content.get(key)
    if not isinstance(value, dict):
        raise ValueError(f"geometry: expected an object named {key!r}, got {value!r}.")
    return value


def _centred(n: int) -> Float64[Tensor, " n"]:
    return torch.arange(n, dtype=torch.float64) - (n - 1) / 2


def _finite(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{name}: expected a finite number, got {value!r}.")
    return number
