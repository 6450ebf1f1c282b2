"""Joseph's method without a matrix: kernels that compute each weight where it is used."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from ct.geometry import ImageGrid, Scan
from ct.projectors.layout import MORE_LINES, packing
from ct.projectors.ray_tables import RayTables

_SCRATCH = 2**28
"""Bytes that copies of the input in the kernels' layout may take; larger batches go in pieces."""

_MOST_UNROLLED = 4  # bins that see a pixel; for more, one kernel with a loop serves
_BINS = 32  # of a program: one for each thread of a warp
_FULL = 2**18  # threads that keep a large GPU busy
_OLDEST_GPU = (7, 0)  # that Triton compiles for


@functools.cache
def can_run_kernels(device: torch.device) -> bool:
    """Say whether Triton is here, with the C compiler that it links its kernels with.

    Args:
        device: a CUDA device.

    Returns:
        Whether kernels will run on it.
    """
    compilers = (os.environ.get("CC"), shutil.which("gcc"), shutil.which("clang"))
    return (
        importlib.util.find_spec("triton") is not None
        and any(compilers)
        and torch.version.hip is None
        and torch.cuda.get_device_capability(device) >= _OLDEST_GPU
    )


class TritonWeights:
    """A and Aᵀ as kernels; tables of the rays are made at first use for each dtype and device."""

    def __init__(self, grid: ImageGrid, scan: Scan, tables: RayTables) -> None:
        self._shape = grid.shape
        self._views, self._bins = scan.n_views, scan.n_detectors
        self._tables = tables
        self._placed: dict[tuple[torch.dtype, torch.device], RayTables] = {}
        self._launch = _Launcher()

    def forward(self, x: Tensor) -> Tensor:
        """Return the sinograms [batch, views, detectors] of images [batch, rows, columns]."""
        y = x.new_empty(len(x), self._views, self._bins)
        rows, columns = self._shape
        n_padded = (rows + MORE_LINES) * (columns + 4) + (columns + MORE_LINES) * (rows + 4)
        with _device_of(x):
            for images, sinograms in _pieces(x, y, n_padded):
                self._project(images.contiguous(), sinograms)
        return y

    def adjoint(self, y: Tensor) -> Tensor:
        """Return sinograms [batch, views, detectors] back-projected to [batch, rows, columns]."""
        x = y.new_empty(len(y), *self._shape)
        n_padded = self._views * (self._bins + 2 * self._tables.reach)
        with _device_of(y):
            for sinograms, images in _pieces(y, x, n_padded):
                self._back_project(sinograms.contiguous(), images)
        return x

    def _project(self, images: Tensor, sinograms: Tensor) -> None:
        from ct.projectors import forward_kernels as kernels

        batch, (rows, columns) = len(images), self._shape
        tables, p = self._on(images), packing(batch, images.element_size())
        by_rows = images.new_empty(p.n_groups * (rows + MORE_LINES) * (columns + 4) * p.lanes)
        by_columns = images.new_empty(p.n_groups * (columns + MORE_LINES) * (rows + 4) * p.lanes)
        side = 16 if p.lanes > 1 else 32
        self._launch(
            kernels.pad_images_kernel,
            (
                _blocks(rows + 2 + MORE_LINES, side) * _blocks(columns + 2 + MORE_LINES, side),
                p.n_groups,
            ),
            (images, by_rows, by_columns, batch, rows, columns),
            {"LANES": p.lanes, "TILE": side},
        )
        n_programs = p.n_groups // p.groups
        n_views, phases = _ray_tile(self._views * self._bins * n_programs, p.lanes)
        self._launch(
            kernels.forward_kernel,
            (_blocks(self._views, n_views) * _blocks(self._bins, _BINS), n_programs),
            (
                by_rows, by_columns, tables.order, tables.length, tables.views, tables.mids,
                tables.steps, sinograms, batch, rows, columns, self._views, self._bins,
                tables.rows_end, tables.columns_begin, tables.reach,
            ),
            {
                "PARALLEL": tables.parallel, "LANES": p.lanes, "GROUPS": p.groups,
                "VIEWS": n_views, "BINS": _BINS, "PHASES": phases,
                "UNROLL": 4 if phases == 2 else 1,
            },
            n_warps=min(8, n_views * phases),
        )  # fmt: skip

    def _back_project(self, sinograms: Tensor, images: Tensor) -> None:
        from ct.projectors import adjoint_kernels as kernels

        batch, (rows, columns) = len(images), self._shape
        tables, p = self._on(sinograms), packing(batch, sinograms.element_size())
        n_padded = self._bins + 2 * tables.reach
        padded = sinograms.new_empty(p.n_groups * self._views * n_padded * p.lanes)
        self._launch(
            kernels.pad_sinograms_kernel,
            (self._views * _blocks(n_padded, 256), p.n_groups),
            (
                sinograms, padded, tables.order, tables.length, batch, self._views, self._bins,
                tables.reach,
            ),
            {"LANES": p.lanes, "TILE": 256},
        )  # fmt: skip
        n_programs = p.n_groups // p.groups
        height, width = (8 if rows * columns * n_programs >= _FULL // 2 else 1), 32
        self._launch(
            kernels.adjoint_kernel,
            (_blocks(rows, height) * _blocks(columns, width), n_programs),
            (
                padded, tables.views, tables.mids, tables.steps, images, batch, rows, columns,
                self._views, self._bins, tables.rows_end, tables.columns_begin, tables.reach,
            ),
            {
                "PARALLEL": tables.parallel, "CURVED": tables.curved,
                "REACH": tables.reach if tables.parallel and tables.reach <= _MOST_UNROLLED else 0,
                "LANES": p.lanes, "GROUPS": p.groups, "HEIGHT": height, "WIDTH": width,
                "UNROLL": 2 if tables.parallel else 1,
            },
            n_warps=4 if height > 1 else 1,
        )  # fmt: skip

    def _on(self, like: Tensor) -> RayTables:
        key = (like.dtype, like.device)
        if key not in self._placed:
            self._placed[key] = self._tables.to(*key)
        return self._placed[key]


class _Launcher:
    """Runs kernels; Triton's own look-up of a compiled kernel takes longer than small kernels."""

    def __init__(self) -> None:
        self._compiled: dict[Any, Any] = {}

    def __call__(
        self,
        kernel: Any,
        grid: tuple[int, int],
        args: tuple[Any, ...],
        constants: dict[str, Any],
        *,
        n_warps: int = 4,
    ) -> None:
        # all else that Triton compiles for is the same: sizes are not specialised, memory aligned
        key = (kernel, args[0].dtype, args[0].device, *constants.values())
        compiled = self._compiled.get(key)
        if compiled is None:
            self._compiled[key] = kernel[grid](*args, **constants, num_warps=n_warps)
        else:
            compiled[*grid, 1](*args, *constants.values())


def _ray_tile(n_rays: int, lanes: int) -> tuple[int, int]:
    """Return how many views a program takes, and into how many phases it splits a ray.

    Few rays leave a GPU idle unless several threads share each; neighbouring views read the same
    pixels. With several lanes a thread does more, and fewer are needed.
    """
    wanted = 8 * _FULL if lanes == 1 else 2 * _FULL
    phases = 2
    while phases < MORE_LINES and n_rays * phases * 2 <= wanted * 1.1:
        phases *= 2
    return (2 if n_rays >= _FULL // 2 else 1), phases


def _device_of(data: Tensor) -> AbstractContextManager[object]:
    """Return a context in which kernels run on the device that the data are on."""
    if data.is_cuda and data.device.index != torch.cuda.current_device():
        return torch.cuda.device(data.device)
    return nullcontext()


def _blocks(n: int, size: int) -> int:
    return -(-n // size)


def _pieces(x: Tensor, y: Tensor, numbers_a_slice: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Give slices with their results, so many at a time that the scratch memory suffices.

    Yields:
        The slices, and where their results go.
    """
    most = max(8, _SCRATCH // (numbers_a_slice * x.element_size()) // 8 * 8)
    if len(x) <= most:
        yield x, y
        return
    for start in range(0, len(x), most):
        yield x[start : start + most], y[start : start + most]
