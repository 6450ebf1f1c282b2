"""A slice solver as it travels to other processes: all of it but the projector, made there once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import torch

from bayesnn.executors.protocol import Context
from ct.geometry import ImageGrid, Scan
from ct.problem import Progress
from ct.projectors.operator import Projector, projector
from ct.slices import SliceSolver


@dataclass(frozen=True, kw_only=True)
class RemoteSolver:
    """What `SliceSolver` holds, without the projector's weights.

    Attributes:
        settings: its fields by name.
    """

    settings: dict[str, Any]

    def here(self, device: torch.device | None) -> SliceSolver:
        """Return the solver in this process.

        Args:
            device: of this process's work; None for the caller's.
        """
        where = self.settings["device"] if device is None else device
        grid, scan = self.settings["grid"], self.settings["scan"]
        return SliceSolver(
            **{**self.settings, "device": where}, projector=_kept_projector(grid, scan)
        )


def remote_solver(solver: SliceSolver) -> RemoteSolver:
    """Return what other processes need of a solver."""
    names = [field.name for field in fields(solver) if field.name != "projector"]
    return RemoteSolver(settings={name: getattr(solver, name) for name in names})


def reporting(context: Context) -> Progress:
    """Return what tells the caller of a worker which share of its piece is done."""

    def report(step: int, steps: int) -> None:
        context.report(lambda: step / max(steps, 1))

    return report


@lru_cache(maxsize=1)
def _kept_projector(grid: ImageGrid, scan: Scan) -> Projector:
    return projector(grid, scan)
