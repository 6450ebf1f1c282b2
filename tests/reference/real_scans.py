"""Real scans read without the package's own readers."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor


def neutron_line_integrals(data_dir: Path) -> tuple[Tensor, Tensor]:
    """Line integrals of the neutron sinogram, and a noise that is infinite at its zero pixels."""
    import tifffile

    counts = torch.from_numpy(
        tifffile.imread(data_dir / "ct_raw" / "neutron_sinogram_360.tif").astype("float64")
    )
    dead = counts == 0
    noise_std = torch.where(dead, math.inf, 0.01)
    return -torch.log(counts.clamp(min=50) / 47_000), noise_std
