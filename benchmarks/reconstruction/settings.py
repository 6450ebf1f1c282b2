"""What is reconstructed in each part of the benchmark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.reconstruction.images import aapm, averaged, dicom
from benchmarks.reconstruction.scans import (
    PIXEL,
    Simulated,
    attenuating,
    photons,
    simulated,
    simulated_finer,
    simulated_phantoms,
    white,
)

SNR_DB = 40.0
DOSES = (1e4, 1e5, 1e6)
ROBUST_SLICES = 3
PHANTOMS = 5


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where images come from and where scans are to lie.

    Attributes:
        data_dir: holds aapm_val.
        dicom_dir: holds dicom.npz; None asks the package pydicom-data.
        side: images are averaged to that side; None leaves them.
        device: of the scans.
        views: in place of a part's own; None for these.
    """

    data_dir: Path | None
    dicom_dir: Path | None
    side: int | None
    device: str
    views: tuple[int, ...] | None


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Scans of one kind.

    Attributes:
        name: of the images, in tables.
        views: number of angles.
        make: simulates them; raises FileNotFoundError where the images are not here.
    """

    name: str
    views: int
    make: Callable[[], Simulated]


def main_part(source: Source) -> list[Setting]:
    """Nine slices, as published figures have them."""

    def make(views: int) -> Simulated:
        return simulated(_aapm(source), views=views, snr_db=SNR_DB, device=source.device)

    return [
        Setting(name="AAPM", views=views, make=partial(make, views))
        for views in source.views or (60, 120)
    ]


def robust_part(source: Source) -> list[Setting]:
    """No discretisation shared; photons; another anatomy."""

    def finer(views: int, side: int | None = None) -> Simulated:
        images = _aapm(source)[:ROBUST_SLICES]
        return simulated_finer(
            images, views=views, measure_rays=white(SNR_DB), device=source.device,
            side=None if side is None else images.shape[-1] // side,
        )  # fmt: skip

    def counted(views: int, i0: float) -> Simulated:
        images = attenuating(_aapm(source)[:ROBUST_SLICES])
        pixel_size = PIXEL * 512 / images.shape[-1]
        return simulated_finer(
            images, views=views, measure_rays=photons(i0), device=source.device,
            pixel_size=pixel_size,
        )  # fmt: skip

    def other(views: int) -> Simulated:
        images = dicom(source.dicom_dir)
        if not len(images):
            raise FileNotFoundError("neither pydicom-data nor --dicom-dir with dicom.npz is here")
        small = images if source.side is None else averaged(images, source.side)
        return simulated_finer(small, views=views, measure_rays=white(SNR_DB), device=source.device)

    kinds: Sequence[tuple[str, Callable[[int], Simulated]]] = (
        ("AAPM, pixels ÷ 3", finer),
        ("AAPM, details of half a pixel", partial(finer, side=2)),
        *(
            (f"AAPM, pixels ÷ 3, I0 = {i0:.0e}".replace("e+0", "e"), partial(counted, i0=i0))
            for i0 in DOSES
        ),
        ("head and abdomen, pixels ÷ 3", other),
    )
    return [
        Setting(name=name, views=views, make=partial(make, views))
        for name, make in kinds
        for views in source.views or (60, 120)
    ]


def phantom_part(source: Source) -> list[Setting]:
    """Random Shepp–Logan phantoms by exact line integrals, few views."""

    def make(views: int) -> Simulated:
        return simulated_phantoms(
            side=source.side or 256,
            slices=PHANTOMS,
            views=views,
            snr_db=SNR_DB,
            device=source.device,
        )

    return [
        Setting(name="Shepp–Logan", views=views, make=partial(make, views))
        for views in source.views or (5, 20)
    ]


PARTS = {"main": main_part, "robust": robust_part, "phantoms": phantom_part}


def _aapm(source: Source) -> np.ndarray:
    if source.data_dir is None:
        raise FileNotFoundError("--data-dir: expected the folder that holds aapm_val")
    images = aapm(source.data_dir)
    return images if source.side is None else averaged(images, source.side)
