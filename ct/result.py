"""The result of a reconstruction: images, error bars, and where they come from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ct.geometry import ImageGrid, Scan
from ct.half_width import calibrated_half_width, student_half_width
from ct.result_metadata import Metadata, merge_metadata, slice_metadata

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Reconstruction:
    """Images and, from Bayesian methods, the posterior's standard deviation and joint samples.

    All in the image's units. `std` is the uncertainty of the image: no measurement noise.

    Attributes:
        mean: [rows, columns] or [slices, rows, columns].
        std: the posterior standard deviation of each pixel; None from methods without one.
        samples: joint posterior samples [(slices,) samples, rows, columns]; None where the method
            has none or they were not kept.
        metadata: method, settings, units, seed, slices (their numbers), n_samples, noise_std (each
            slice's mean), noise_std_source ("given" or "estimated"), calibration ("none": the
            method's own error bars), half_widths and held_out_coverage (each slice's: level to half
            width in standard deviations, and to the share of held-out rays that the intervals
            predicted for them cover; None where there are none), versions, diagnostics (each
            slice's).
        grid: where the pixels are.
        scan: where the rays were.

    Raises:
        ValueError: shapes that do not fit each other.
    """

    mean: Tensor
    std: Tensor | None
    samples: Tensor | None
    metadata: Metadata
    grid: ImageGrid
    scan: Scan

    def __post_init__(self) -> None:
        shape = tuple(self.mean.shape)
        if len(shape) not in {2, 3} or shape[-2:] != self.grid.shape:
            raise ValueError(
                f"mean: expected the grid's shape [(slices,) {self.grid.shape[0]}, "
                f"{self.grid.shape[1]}], got {list(shape)}."
            )
        if self.std is not None and tuple(self.std.shape) != shape:
            raise ValueError(
                f"std: expected mean's shape {list(shape)}, got {list(self.std.shape)}."
            )
        if self.samples is not None:
            stack = tuple(self.samples.shape[:-3]) + tuple(self.samples.shape[-2:])
            if stack != shape or self.samples.shape[-3] != self.n_samples:
                raise ValueError(
                    f"samples: expected {self.n_samples} images for each of mean's shape "
                    f"{list(shape)}, got {list(self.samples.shape)}."
                )

    def __repr__(self) -> str:
        rows, columns = self.grid.shape
        stack = f"{len(self.mean)} slices of " if self.mean.ndim == 3 else ""
        held = ["mean"] if self.std is None else ["mean", "std"]
        if self.samples is not None:
            held.append(f"{self.n_samples} samples")
        units = self.metadata.get("units")
        of = f" in {units}" if units else ""
        return (
            f"<Reconstruction of {stack}{rows} × {columns} pixels by {self.metadata['method']}: "
            f"{', '.join(held)}{of}>"
        )

    @property
    def n_samples(self) -> int | None:
        """How many samples stand behind `std`; None where there is no uncertainty."""
        return self.metadata.get("n_samples")

    def interval(
        self, level: float = 0.95
    ) -> tuple[Float[Tensor, "*stack rows columns"], Float[Tensor, "*stack rows columns"]]:
        """Return the central interval of each pixel: mean ± w · std.

        Where the measurements calibrated the intervals, w is the slice's half width at the level
        (metadata "half_widths"). Otherwise it is t_{n−1} · √(1 + 1/n), because mean and standard
        deviation come from n samples alone: where the posterior of a pixel is Gaussian, the
        interval covers it at the level exactly.

        Args:
            level: the share that the interval shall cover, at least 0, below 1.

        Returns:
            Lower and upper ends.

        Raises:
            ValueError: the method gave no uncertainty, or the level is not at least 0, below 1.
        """
        std, n = self._uncertainty()
        calibrated = self.metadata.get("half_widths")
        slices = len(self.mean) if self.mean.ndim == 3 else 1
        widths = [
            student_half_width(level, n) if one is None else calibrated_half_width(level, one)
            for one in calibrated or [None] * slices
        ]
        factor = torch.tensor(widths, dtype=std.dtype, device=std.device)
        half = factor.reshape((-1, 1, 1) if self.mean.ndim == 3 else ()) * std
        return self.mean - half, self.mean + half

    def region(self, mask: ArrayLike | Tensor) -> RegionMean:
        """Return the mean over a region, with the uncertainty of that mean.

        Errors of neighbouring pixels are correlated, so it comes from joint samples: each
        sample's mean over the region is a sample of the region's mean.

        Args:
            mask: true inside the region; [rows, columns] for the same region in every slice, or
                [slices, rows, columns] for one region through all slices.

        Returns:
            The region's mean: one number, or one a slice.

        Raises:
            ValueError: no samples, a mask of another shape or kind, or an empty region.
        """
        self._uncertainty()
        if self.samples is None:
            raise ValueError(
                "region: expected joint samples, found none in this result; reconstruct with "
                "keep_samples=True."
            )
        inside = _checked_mask(mask, tuple(self.mean.shape)).to(self.mean.device)
        if inside.ndim == 3 and self.samples.ndim == 4:
            # slices are independent, so sample k of each slice make one sample of the volume
            means = self.samples.movedim(1, 0)[:, inside].mean(dim=1)
        else:
            means = self.samples[..., inside].mean(dim=-1)
        return RegionMean(
            mean=means.mean(dim=-1),
            std=means.std(dim=-1),
            n_pixels=int(inside.sum()),
            n_samples=means.shape[-1],
        )

    def single(self, index: int) -> Reconstruction:
        """Return one slice of a stack, as a single image.

        Args:
            index: its place in the stack.

        Returns:
            The slice.

        Raises:
            ValueError: this is no stack, or it has no such slice.
        """
        if self.mean.ndim != 3 or not 0 <= index < len(self.mean):
            raise ValueError(
                f"single: expected a stack that has slice {index}, got shape "
                f"{list(self.mean.shape)}."
            )
        return replace(
            self,
            mean=self.mean[index],
            std=None if self.std is None else self.std[index],
            samples=None if self.samples is None else self.samples[index],
            metadata=slice_metadata(self.metadata, index),
        )

    @staticmethod
    def stack(parts: Sequence[Reconstruction]) -> Reconstruction:
        """Join results of the same scan, method and settings into one stack of slices.

        Args:
            parts: single images or stacks, in order; where one lacks samples, the stack has none.

        Returns:
            The stack.

        Raises:
            ValueError: no parts, or parts that differ in more than their slices.
        """
        if not parts:
            raise ValueError("stack: expected at least one reconstruction, got none.")
        if any((p.grid, p.scan) != (parts[0].grid, parts[0].scan) for p in parts):
            raise ValueError("stack: expected results of one geometry, got several.")
        metadata = merge_metadata([part.metadata for part in parts])
        return Reconstruction(
            mean=torch.cat([_as_stack(part.mean, 3) for part in parts]),
            std=_joined([part.std for part in parts], 3),
            samples=_joined([part.samples for part in parts], 4),
            metadata=metadata,
            grid=parts[0].grid,
            scan=parts[0].scan,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result to an HDF5 file, which appears only when it is whole.

        Args:
            path: the file to write or replace.

        Raises:
            ValueError: it cannot be written.
        """
        from ct.data.result_file import write_result

        write_result(path, self)

    @staticmethod
    def load(
        path: str | os.PathLike[str], *, slices: Sequence[int] | None = None
    ) -> Reconstruction:
        """Read what `save` wrote, all of it or some slices.

        Args:
            path: the file; `ct.open_reconstruction` reads one slice after the other.
            slices: the slices' places in the file, such as range(10, 20); None for all.

        Returns:
            The result, on the CPU; a stack where `slices` are given.

        Raises:
            ValueError: the file is missing, empty, truncated, foreign or of a later version, or
                has no such slice.
        """
        from ct.data.result_file import read_result

        return read_result(path, slices)

    @staticmethod
    def merge(paths: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str]) -> None:
        """Join result files into one stack, as `stack` does, holding one slice at a time.

        Args:
            paths: files of single images or stacks, in order.
            output: the file to write or replace.

        Raises:
            ValueError: a file cannot be read or written, or they differ in more than their slices.
        """
        from ct.data.result_file import merge_results

        merge_results(paths, output)

    def _uncertainty(self) -> tuple[Tensor, int]:
        if self.std is None or self.n_samples is None:
            raise ValueError(
                f"{self.metadata.get('method', 'this method')} gives no uncertainty, so there are "
                "no intervals; reconstruct with jackknife()."
            )
        return self.std, self.n_samples


@dataclass(frozen=True, kw_only=True, eq=False)
class RegionMean:
    """The mean of a region and how certain it is.

    Attributes:
        mean: the posterior mean, one number or one a slice.
        std: the posterior standard deviation of the region's mean.
        n_pixels: how many pixels the region has.
        n_samples: how many samples stand behind `std`.
    """

    mean: Float[Tensor, "*slices"]
    std: Float[Tensor, "*slices"]
    n_pixels: int
    n_samples: int

    def interval(
        self, level: float = 0.95
    ) -> tuple[Float[Tensor, "*slices"], Float[Tensor, "*slices"]]:
        """Return the central interval of the region's mean, as `Reconstruction.interval`.

        Args:
            level: the share that the interval shall cover, at least 0, below 1.

        Returns:
            Lower and upper ends.

        Raises:
            ValueError: the level is not at least 0, below 1.
        """
        half = student_half_width(level, self.n_samples) * self.std
        return self.mean - half, self.mean + half


def _checked_mask(mask: ArrayLike | Tensor, shape: tuple[int, ...]) -> Tensor:
    inside = mask if isinstance(mask, Tensor) else torch.from_numpy(np.array(mask))
    if inside.dtype != torch.bool:
        raise ValueError(
            f"mask: expected true and false, got {inside.dtype}; compare, as mask > 0."
        )
    if tuple(inside.shape) not in {shape, shape[-2:]}:
        raise ValueError(f"mask: expected shape {list(shape)}, got {list(inside.shape)}.")
    if not bool(inside.any()):
        raise ValueError("mask: expected a region of at least one pixel, got an empty one.")
    return inside


def _as_stack(values: Tensor, ndim: int) -> Tensor:
    return values if values.ndim == ndim else values[None]


def _joined(parts: list[Tensor | None], ndim: int) -> Tensor | None:
    present = [_as_stack(part, ndim) for part in parts if part is not None]
    return torch.cat(present) if len(present) == len(parts) else None
