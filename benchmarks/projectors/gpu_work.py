"""What a projection by Joseph's method costs at least on a GPU, whatever the program."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ct.geometry import ImageGrid, Scan
from ct.projectors.crossings import crossings

_BYTES_A_CYCLE = 128  # that a multiprocessor's first-level cache gives
_OPERATIONS_A_CYCLE = 256  # of float32, by 128 fused multiply-adds


@dataclass(frozen=True, kw_only=True)
class Work:
    """Crossings of rays and lines inside the image, and what the device can do in a second."""

    crossings: int
    memory: float
    cache: float
    operations: float

    def floors(self, grid: ImageGrid, scan: Scan, batch: int, n_bytes: int) -> dict[str, float]:
        """Return the least milliseconds by memory, by cache and by arithmetic.

        Memory: each pixel and bin once. Cache: the two pixels of every crossing. Arithmetic: two
        fused multiply-adds for every crossing.
        """
        rows, columns = grid.shape
        numbers = rows * columns + scan.n_views * scan.n_detectors
        return {
            "memory": 1e3 * batch * n_bytes * numbers / self.memory,
            "cache": 1e3 * batch * n_bytes * 2 * self.crossings / self.cache,
            "arithmetic": 1e3 * batch * 4 * self.crossings / (self.operations * 4 / n_bytes),
        }


def measure_work(grid: ImageGrid, scan: Scan) -> Work:
    """Count crossings, and measure the memory's bandwidth by a copy."""
    path = crossings(grid, scan)
    rows, columns = grid.shape
    inside = 0
    for view in range(scan.n_views):
        n_lines = torch.where(path.by_rows[view], rows, columns)[:, None]
        width = torch.where(path.by_rows[view], columns, rows)[:, None]
        line = torch.arange(max(rows, columns))
        place = path.first[view, :, None] + path.step[view, :, None] * line
        inside += int(((place > -1) & (place < width) & (line < n_lines)).sum())
    properties = torch.cuda.get_device_properties()
    hertz = 1e3 * getattr(properties, "clock_rate", 1.98e6)
    a_cycle = properties.multi_processor_count * hertz
    return Work(
        crossings=inside,
        memory=_bandwidth(),
        cache=a_cycle * _BYTES_A_CYCLE,
        operations=a_cycle * _OPERATIONS_A_CYCLE,
    )


def _bandwidth() -> float:
    source = torch.rand(2**28, device="cuda")
    target = torch.empty_like(source)
    times = []
    for _ in range(10):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        target.copy_(source)
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return 2 * source.numel() * 4 / (sorted(times)[5] * 1e-3)
