"""How much more accurate than total variation is `ct.bm3d`, and how strong should it be?

    python benchmarks/ct_bm3d.py --data-dir DIR --device cuda    (2 minutes)

Both see the same sinograms; TV has its weight from held-out views, which is within 0.1 dB of the
best one (benchmarks/results/ct_tv.md). The strength was chosen on slices of the AAPM challenge,
with even noise, photon counts and details of half a pixel, and looked at on pydicom's CT_small,
pydicom-data's slices and random Shepp-Logan phantoms; untouched are the real scans of docs/scans.
Sinograms and images share the projector, as published numbers do, and the noise is the same in all
rays: benchmarks/ct_reconstruction.py has photon counts, details finer than a pixel and exact line
integrals.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

import ct
from benchmarks.ct_tv import Simulated, aapm, ct_small, dicom, phantoms, shrunk, simulated
from benchmarks.report import RESULTS, Report
from ct.classical.tv import TotalVariation
from ct.nonlocal_prior.bm3d import BM3D

STRENGTHS = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
COLUMNS = (
    "images", "slices", "views", "SNR (dB)", "TV: mean PSNR", "bm3d: mean PSNR (default)",
    "bm3d − TV, each slice",
    *(f"bm3d − TV at strength {strength:g}" for strength in STRENGTHS),
    "χ² a ray", "TV: seconds a slice", "bm3d: seconds a slice",
)  # fmt: skip
NOTE = (
    "PSNR in dB below each slice's greatest value, mean over slices. Differences in dB. Seconds of "
    "a whole call with all slices of the row, over their number, after a first call."
)


def solved(data: Simulated, method: BM3D | TotalVariation) -> tuple:
    """Return PSNR of each slice, χ² and seconds a slice."""
    method.solve_slices(data.problems[:1])
    _wait(data)
    began = time.perf_counter()
    found = method.solve_slices(data.problems)
    _wait(data)
    seconds = (time.perf_counter() - began) / len(found)
    chi = float(np.mean([one.diagnostics["chi_squared_per_ray"] for one in found]))
    return data.psnr(torch.stack([one.mean for one in found])), chi, seconds


def _wait(data: Simulated) -> None:
    if data.truth.is_cuda:
        torch.cuda.synchronize()


def row(label: str, data: Simulated, views: int, snr_db: float) -> tuple[str, ...]:
    """Measure one data set."""
    baseline, _, tv_seconds = solved(data, ct.tv())
    scores = {strength: solved(data, ct.bm3d(strength=strength)) for strength in STRENGTHS}
    best, chi, seconds = scores[ct.bm3d().strength]
    gains = ", ".join(f"{gain:+.2f}" for gain in (best - baseline).tolist())
    return (
        label, str(len(baseline)), str(views), f"{snr_db:g}",
        f"{float(baseline.mean()):.2f}", f"{float(best.mean()):.2f}", gains,
        *(f"{float((scores[s][0] - baseline).mean()):+.2f}" for s in STRENGTHS),
        f"{chi:.2f}", f"{tv_seconds:.2f}", f"{seconds:.2f}",
    )  # fmt: skip


def main() -> None:
    """Run all and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BAYESNN_DATA"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tiny", action="store_true", help="only to see that it runs: 64²")
    parser.add_argument("--dicom-dir", type=Path, help="folder with dicom.npz, where no package is")
    options = parser.parse_args()
    if options.data_dir is None:
        parser.error("name the data folder: --data-dir DIR, or BAYESNN_DATA")
    real = aapm(options.data_dir)
    sets = [
        ("AAPM", real, [(60, 40), (120, 40)]),
        ("AAPM, three", real[:3], [(20, 40), (60, 30), (60, 50)]),
        ("phantoms", phantoms(), [(60, 40), (20, 40), (60, 30), (60, 50)]),
        ("CT_small", ct_small(), [(60, 40), (20, 40)]),
        ("pydicom-data", dicom(options.dicom_dir), [(60, 40), (120, 40), (60, 30), (20, 40)]),
    ]
    report = Report(
        name=f"ct_bm3d_{options.device.split(':')[0]}",
        title="Groups of similar patches beside total variation",
        command=f"python benchmarks/ct_bm3d.py --data-dir DIR --device {options.device}",
        columns=COLUMNS,
        rows=[],
        notes=[NOTE],
    )
    folder = Path(tempfile.mkdtemp()) if options.tiny else RESULTS
    for label, images, settings in sets:
        small = shrunk(images, tiny=options.tiny)
        for views, snr_db in settings if len(small) else []:
            data = simulated(small, views=views, snr_db=snr_db, device=options.device)
            report.rows.append(row(label, data, views, snr_db))
            print(report.rows[-1], flush=True)
            report.write(folder)  # what is done is kept
    print(folder)


if __name__ == "__main__":
    main()
