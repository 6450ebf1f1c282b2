"""A few small scans of a small image, as problems and as dense matrices."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import ct
from ct.classical.primal_dual_metric import Metric, fourier_metric
from ct.classical.tv_differences import Lengths
from ct.classical.tv_objective import TVProblem
from ct.geometry import Scan
from ct.projectors.operator import Projector

NOISE = 0.3


@dataclass(frozen=True, kw_only=True)
class SmallScan:
    grid: ct.ImageGrid
    scan: Scan
    operator: Projector
    truth: Tensor
    sinogram: Tensor
    precision: Tensor

    @property
    def matrix(self) -> NDArray[np.float64]:
        pixels = torch.eye(self.truth.numel(), dtype=torch.float64)
        return self.operator(pixels.reshape(-1, *self.grid.shape)).flatten(1).T.numpy()

    def problem(self, weight: float, lengths: Lengths, **bounds: float) -> TVProblem:
        return TVProblem(
            projector=self.operator,
            sinograms=self.sinogram[None],
            precision=self.precision[None],
            weights=torch.tensor([weight], dtype=torch.float64),
            lengths=lengths,
            **bounds,
        )

    @property
    def metric(self) -> Metric:
        return fourier_metric(self.operator, self.grid, self.scan, self.sinogram)


def small_scan(shape: tuple[int, int] = (7, 9), *, views: int = 12, missing: int = 0) -> SmallScan:
    """Noisy line integrals of a disc beside a bar, `missing` rays of them not measured."""
    grid = ct.ImageGrid(shape, pixel_size=0.8)
    scan = ct.ParallelBeam([k * math.pi / views for k in range(views)], 16, 0.7)
    x, y = grid.x_positions, grid.y_positions[:, None]
    truth = ((x + 1) ** 2 + y**2 < 3).double() + 0.5 * ((x - 2).abs() < 0.5) * (y > -1)
    operator = ct.projector(grid, scan)
    generator = torch.Generator().manual_seed(3)
    clean = operator(truth)
    noise = torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    std = NOISE * (0.5 + torch.rand(clean.shape, generator=generator, dtype=torch.float64))
    precision = std.square().reciprocal()
    precision.view(-1)[torch.randperm(precision.numel(), generator=generator)[:missing]] = 0
    return SmallScan(
        grid=grid,
        scan=scan,
        operator=operator,
        truth=truth,
        sinogram=clean + std * noise,
        precision=precision,
    )
