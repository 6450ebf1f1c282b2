"""A scan of slices on disk, to be reconstructed by one worker or by several."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float32

import ct
from bayesnn.executors import Executor
from ct.data.phantoms import shepp_logan
from ct.data.simulated_scans import parallel_scan
from ct.data.sinogram_file import write_sinogram
from ct.reconstruct_config import ReconstructConfig
from ct.workflow import reconstruct_file

NOISE_STD = 0.1


class Trial:
    """A scan on disk, and how it is reconstructed."""

    def __init__(self, folder: Path, method: str, device: str, side: int, views: int) -> None:
        self.folder, self.method, self.device, self.side = folder, method, device, side
        self.grid = ct.ImageGrid((side, side))
        self.scan = parallel_scan(self.grid, views=views)
        self.n_slices = 0

    def make(self, n_slices: int) -> None:
        """Write the sinograms."""
        self.n_slices = n_slices
        write_sinogram(
            self.folder / "scan.h5",
            self._sinograms(n_slices),
            grid=self.grid,
            scan=self.scan,
            n_slices=n_slices,
            units="",
            image_units="",
            metadata={"source": "the Shepp-Logan phantom, brighter from slice to slice"},
        )

    def _sinograms(
        self, n_slices: int
    ) -> Iterator[tuple[Float32[np.ndarray, "views detectors"], float]]:
        clean = ct.projector(self.grid, self.scan)(shepp_logan(self.grid).image(self.grid).float())
        rng = np.random.default_rng(0)
        for index in range(n_slices):
            noise = NOISE_STD * rng.standard_normal(clean.shape, dtype=np.float32)
            yield (1 + index / n_slices) * clean.numpy() + noise, NOISE_STD

    def run(self, name: str, executor: Executor | None, n_slices: int | None = None) -> float:
        """Reconstruct slices into a file; return the seconds."""
        start = time.perf_counter()
        warnings.filterwarnings("ignore", "memory budget")  # it is too small on purpose
        reconstruct_file(
            ReconstructConfig(
                sinogram=self.folder / "scan.h5",
                output=self.folder / name,
                method=self.method,
                device=self.device,
                slices=f"0:{n_slices or self.n_slices}",
                executor=executor,
                # as many chunks as slices, for methods that take several slices at once
                memory_budget=1 if self.method in {"fbp", "cgls", "sirt", "tv"} else None,
            )
        )
        return time.perf_counter() - start

    def difference(self, one: str, other: str) -> float:
        """Return the largest difference of the first result's slices, over the largest value."""
        with h5py.File(self.folder / one) as a, h5py.File(self.folder / other) as b:
            return max(
                float(np.abs(a[name][()] - b[name][: len(a[name])]).max() / np.abs(a[name]).max())
                for name in a
            )
