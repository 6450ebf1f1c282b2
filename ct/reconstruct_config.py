"""What a reconstruction from file to file is to do, and every default of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ct.data.scan_options import ScanOptions

if TYPE_CHECKING:
    from bayesnn.executors.protocol import Executor


@dataclass(frozen=True, kw_only=True)
class ReconstructConfig:
    """What `bayesnn-ct reconstruct` was asked for.

    Attributes:
        sinogram: HDF5 or .npy file of the sinogram.
        output: result file to write.
        method: the method's name.
        settings: the method's own settings, by name.
        device: "auto", "cpu", "cuda" or "cuda:1".
        seed: seed of everything random.
        slices: "a:b", the slices from a to before b; None for all.
        resume: go on where an interrupted run of the same work stopped; a whole result of the
            same work stays as it is.
        checkpoint: a folder, or an address that fsspec knows such as `s3://bucket/scan`, where
            finished slices and the states of those in work are kept too, so that another machine
            can go on with them; None for beside the output alone.
        noise_std: each ray's noise in the sinogram's units; None for what the counts say of each
            ray, or else an estimate from each slice (what a simulated file says of its noise is
            never used unasked).
        remove_stripes: take stripes out of each sinogram first (`ct.remove_stripes`).
        mu_water: attenuation of water in 1/mm, to give the image in Hounsfield units; None leaves
            it in the scan's units.
        samples: whether the result holds the joint samples; None keeps them where all slices'
            samples take no more than `ct.reconstruction.SAMPLE_BUDGET`.
        memory_budget: bytes that the slices, members or samples in work at once may take; None for
            256 MiB on a CPU, and on a GPU for a 32nd of its memory (slices; 256 MiB at least) or a
            quarter (members, samples).
        executor: whose workers reconstruct the slices, such as
            `bayesnn.executors.local_executor(2)`; None for this process. The numbers are the same.
        figure: a picture of the middle slice to draw; None for none.
        figures: a folder for a picture of every slice; None for none.
        scan: what the user says of the file.
    """

    sinogram: Path
    output: Path
    method: str = "jackknife"
    settings: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    seed: int = 0
    slices: str | None = None
    resume: bool = False
    checkpoint: str | None = None
    noise_std: float | None = None
    remove_stripes: bool = False
    mu_water: float | None = None
    samples: bool | None = None
    memory_budget: int | None = None
    executor: Executor | None = None
    figure: Path | None = None
    figures: Path | None = None
    scan: ScanOptions = field(default_factory=ScanOptions)
