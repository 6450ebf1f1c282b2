"""The real scans of these pages, read and corrected as the pages say."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

import ct
from ct.data.scan_input import open_scan
from ct.data.scan_options import ScanOptions
from ct.geometry import FanBeam

HELSINKI_SIDE = 512  # pixels as wide as a bin's shadow, as the published segmentation has them


@dataclass(frozen=True, kw_only=True)
class MeasuredScan:
    """One slice, ready to be reconstructed.

    Attributes:
        sinogram: line integrals, stripes removed.
        noise_std: of each ray; infinite where nothing was measured.
        scan: where the rays are, the centre of rotation found.
        width: of the image, in mm.
        repeats: views after which the same lines are seen again, from the other side; more than
            there are views where none is.
    """

    sinogram: Float[Tensor, "views detectors"]
    noise_std: Float[Tensor, "views detectors"]
    scan: ct.ParallelBeam | FanBeam
    width: float
    repeats: int


def tooth(data_dir: Path) -> MeasuredScan:
    """First slice of the tooth: 181 views over half a turn, the last opposite to the first."""
    source = open_scan(data_dir / "ct_raw" / "tooth_dxchange.h5")
    _, scan = source.geometry()
    measured = source.read(0)
    return _about_its_centre(measured.values, measured.noise_std, scan, repeats=180)


def neutron(data_dir: Path) -> MeasuredScan:
    """The neutron scan: 459 views over a full turn, the last a repetition of the first."""
    with tempfile.TemporaryDirectory() as folder:
        angles = Path(folder) / "angles.txt"
        np.savetxt(angles, 2 * np.pi * np.arange(459) / 458)
        options = ScanOptions(angles=str(angles), i0=47_000, values="counts")
        source = open_scan(data_dir / "ct_raw" / "neutron_sinogram_360.tif", options)
        _, scan = source.geometry()
        measured = source.read(0)
    return _about_its_centre(measured.values, measured.noise_std, scan, repeats=229)


def helsinki(data_dir: Path) -> MeasuredScan:
    """The Helsinki disc: a fan over a quarter turn, noise as it differs between views."""
    source = open_scan(data_dir / "ct_raw" / "htc2022_tb_90deg.mat")
    grid, scan = source.image_geometry()
    sinogram = torch.from_numpy(source.read(0).values)
    noise_std = ct.estimate_noise_std_between_views(sinogram)
    return MeasuredScan(
        sinogram=ct.remove_stripes(sinogram),
        noise_std=torch.full_like(sinogram, noise_std),
        scan=scan,
        width=HELSINKI_SIDE * grid.pixel_size,
        repeats=scan.n_views + 1,
    )


SCANS = {"tooth": tooth, "neutron": neutron, "helsinki": helsinki}


def _about_its_centre(
    values: Float[np.ndarray, "views detectors"],
    noise: Float[np.ndarray, "views detectors"],
    scan: ct.ParallelBeam,
    *,
    repeats: int,
) -> MeasuredScan:
    sinogram, noise_std = torch.from_numpy(values), torch.from_numpy(noise)
    found = ct.find_center(sinogram, scan, noise_std=noise_std)
    return MeasuredScan(
        sinogram=ct.remove_stripes(sinogram),
        noise_std=noise_std,
        scan=ct.ParallelBeam(
            scan.angles, scan.n_detectors, scan.detector_spacing, center=found.center
        ),
        width=scan.n_detectors * scan.detector_spacing,
        repeats=repeats,
    )
