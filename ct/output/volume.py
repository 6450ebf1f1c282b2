"""One quantity of a result as a volume in space: what every format's writer gets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from ct.data.result_file import StoredReconstruction

QUANTITIES = ("mean", "std", "lower", "upper")


@dataclass(frozen=True, kw_only=True, eq=False)
class Volume:
    """The mean, the standard deviation or an end of the intervals, read slice by slice.

    The centre of the pixel at row r and column c of slice n lies at

        x = (c − (columns − 1)/2) · pixel_size,  to the right in the picture,
        y = ((rows − 1)/2 − r) · pixel_size,     up in the picture, row 0 being the top,
        z = number_n · slice_spacing,            number_n being the slice's number in the scan.

    Where a format knows a patient, slices are axial and shown as usual: x points to the patient's
    left, y to the front, z to the head. So in DICOM's coordinates (LPS) the point is (x, −y, z),
    and in those of NIfTI (RAS) it is (−x, y, z).

    Attributes:
        source: the open result.
        what: "mean", "std", "lower" or "upper".
        level: share that the interval of "lower" and "upper" covers.
        chosen: places in the result of the slices that are meant.
        single: whether one image is meant, and no stack.
    """

    source: StoredReconstruction
    what: str
    level: float
    chosen: range
    single: bool

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self.chosen)

    def __iter__(self) -> Iterator[Float32[np.ndarray, "rows columns"]]:
        """Yield the slices, one in memory at a time."""
        for index in range(len(self)):
            yield self.read(index)

    def read(self, index: int) -> Float32[np.ndarray, "rows columns"]:
        """Return one slice, the first having index 0.

        Raises:
            ValueError: the result is damaged, or holds values that are not finite.
        """
        one = self.source.read(self.chosen[index], samples=False)
        if self.what == "mean":
            image = one.mean
        elif self.what == "std":
            assert one.std is not None
            image = one.std
        else:
            image = one.interval(self.level)[QUANTITIES.index(self.what) - 2]
        values = np.asarray(image.numpy(), dtype=np.float32)
        if not np.isfinite(values).all():
            raise ValueError(
                f"{self.source.path}: slice {self.chosen[index]} holds NaN or infinite values; "
                "reconstruct it again."
            )
        return values

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of slices, rows and columns."""
        rows, columns = self.source.grid.shape
        return len(self), rows, columns

    @property
    def pixel_size(self) -> float:
        """Side of a pixel in mm."""
        return self.source.grid.pixel_size

    @property
    def units(self) -> str:
        """Units of the values, such as "HU" or "1/mm"; "" where they are unknown."""
        return str(self.source.metadata.get("units", ""))

    def height(self, index: int) -> float:
        """Return the z of a slice in mm."""
        numbers = self.source.metadata.get("slices", range(len(self.source)))
        return float(numbers[self.chosen[index]] * self.source.grid.slice_spacing)

    @property
    def spacing(self) -> float:
        """Distance between slices in mm.

        Raises:
            ValueError: they are not evenly spaced.
        """
        if len(self) == 1:
            return self.source.grid.slice_spacing
        steps = np.diff([self.height(index) for index in range(len(self))])
        if not (steps[0] > 0 and np.allclose(steps, steps[0], rtol=1e-6)):
            raise ValueError(
                f"{self.source.path}: expected slices at equal distances, found others; "
                "choose one with --slice, or write DICOM, which places every slice."
            )
        return float(steps[0])

    @property
    def description(self) -> str:
        """What the values are, such as "standard deviation, mc-dropout"."""
        method = self.source.metadata.get("method", "unknown method")
        quantity = {
            "mean": "mean" if "std" in self.source.names else "image",
            "std": "standard deviation",
            "lower": f"lower end of the {100 * self.level:g} % interval",
            "upper": f"upper end of the {100 * self.level:g} % interval",
        }[self.what]
        return f"{quantity}, {method}"


def choose_quantity(
    source: StoredReconstruction, *, what: str, level: float, index: int | None
) -> Volume:
    """Return one quantity of a result, all slices or one.

    Args:
        source: the open result.
        what: "mean", "std", "lower" or "upper".
        level: share that the interval of "lower" and "upper" covers.
        index: the place of one slice in the result, from 0; None for all.

    Returns:
        The volume.

    Raises:
        ValueError: no such quantity or slice, or the method gave no uncertainty.
    """
    if what not in QUANTITIES:
        raise ValueError(f"--what: expected {', '.join(QUANTITIES)}, got {what!r}.")
    if what != "mean" and "std" not in source.names:
        raise ValueError(
            f"{source.path}: {source.metadata.get('method', 'its method')} gives no uncertainty, "
            f"so there is no {what}; only --what mean can be converted."
        )
    if what in {"lower", "upper"} and not 0 < level < 1:
        raise ValueError(f"--level: expected a share above 0 and below 1, got {level!r}.")
    if index is not None and not 0 <= index < len(source):
        raise ValueError(
            f"--slice: expected a place from 0 to {len(source) - 1} in {source.path}, got {index}."
        )
    chosen = range(len(source)) if index is None else range(index, index + 1)
    return Volume(
        source=source,
        what=what,
        level=level,
        chosen=chosen,
        single=index is not None or source.single_image,
    )
