"""How long does `bayesnn-ct demo` take, how much memory, and how good is its image?

    python benchmarks/demo.py [--runs 3]

Whole processes, imports included; medians over the runs. Peak memory is the operating system's
figure for the largest run.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from pydicom.data import get_testdata_file
from skimage.transform import iradon

sys.path.insert(0, str(Path(__file__).parent.parent))

import ct
from benchmarks.report import Report
from ct.classical.windows import hann, ramp
from ct.data.images import read_image
from ct.data.sinogram_file import open_sinogram
from ct.evaluation import evaluate
from ct.result import Reconstruction


def run_demo(folder: Path) -> float:
    """Run the demo into `folder`; return its wall time in seconds."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "ct", "demo", "--out", str(folder)],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - start


def accuracy(folder: Path) -> list[tuple[str, str, str]]:
    """Return the rows on the image: PSNR beside filtered back-projections, and the error bars."""
    truth_file = get_testdata_file("CT_small.dcm", download=False)
    result = Reconstruction.load(folder / "reconstruction.h5")
    truth = read_image(truth_file).read(0)
    scores = evaluate(result, truth[None]).mean
    sinogram = open_sinogram(folder / "sinogram.h5").read(0)
    degrees = np.rad2deg(np.asarray(result.scan.angles))
    spacing = result.scan.detector_spacing
    fields_own = max(
        psnr(iradon(sinogram.T / spacing, degrees, 128, filter_name=name, circle=False), truth)
        for name in ("ramp", "hann")
    )
    ours = max(
        evaluate(
            ct.reconstruct(sinogram, result.scan, result.grid, method=ct.fbp(window=window)), truth
        ).mean.psnr
        for window in (ramp, hann)
    )
    uncertainty = scores.uncertainty
    assert uncertainty is not None
    rows = [
        ("PSNR of the mean (dB)", f"{scores.psnr:.2f}", ""),
        ("PSNR of ct.fbp, better of ramp and Hann", f"{ours:.2f}", ""),
        ("gain over it", f"{scores.psnr - ours:.2f}", "≥ 5"),
        ("PSNR of skimage.transform.iradon, better of ramp and Hann", f"{fields_own:.2f}", ""),
        ("gain over it", f"{scores.psnr - fields_own:.2f}", "≥ 5"),
        ("NLL (range 1); with one constant width",
         f"{uncertainty.nll:.3f}; {uncertainty.constant_nll:.3f}", ""),
    ]  # fmt: skip
    for level in uncertainty.levels:
        share = f"{100 * level.level:.0f} %"
        with_bars = f"{100 * level.coverage:.1f} %, {level.width:.0f} HU"
        constant = f"{100 * level.constant_coverage:.1f} %, {level.constant_width:.0f} HU"
        row = (
            f"{share} interval: coverage, mean width; constant width",
            f"{with_bars}; {constant}",
        )
        rows.append((*row, ""))
    return rows


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """PSNR of the image clipped to the truth's range, in dB."""
    error = np.clip(image, truth.min(), truth.max()) - truth
    return float(10 * np.log10(np.ptp(truth) ** 2 / np.mean(error**2)))


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        times = [run_demo(Path(folder)) for _ in range(arguments.runs)]
        image_rows = accuracy(Path(folder))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
    rows = [
        ("seconds, median (min to max)",
         f"{statistics.median(times):.1f} ({min(times):.1f} to {max(times):.1f})", "< 120"),
        ("peak memory in GiB", f"{peak:.2f}", "< 2"),
        *image_rows,
    ]  # fmt: skip
    report = Report(
        name="demo",
        title="The demo: time, memory, accuracy",
        command=f"python benchmarks/demo.py --runs {arguments.runs}",
        columns=("what", "measured", "wanted"),
        rows=rows,
        notes=[
            "iradon puts images of even size half a pixel off centre: 4 dB of its error here.",
        ],
    )
    print(report.write().read_text())


if __name__ == "__main__":
    main()
