"""What does stopping at the noise level cost against the best number of iterations?

    python benchmarks/ct_stopping.py --data-dir DIR [--threads 2] [--device cpu]

`ct.sirt()` and `ct.cgls()` stop where χ² is 1 a ray (the discrepancy principle); the best number of
iterations only the truth tells. On an AAPM slice (DIR/aapm_val/slices.npz) and the Shepp–Logan
phantom, on which the rule was chosen, and on pydicom-data's 693_UNCI (optional), never looked
at before; all at 256², 60 and 120 views, 40 and 25 dB. About 10 minutes on two CPU cores.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

import ct
from benchmarks.ct_classical import SNR_DB, VIEWS, Scanned, aapm, psnr, scanned
from benchmarks.report import Report
from ct.classical.cgls import cgls_iterates
from ct.classical.least_squares import least_squares
from ct.classical.sirt import sirt_iterates
from ct.classical.stopping import Iterate
from ct.problem import Method

MOST = {"sirt": 400, "cgls": 60}  # iterations among which the best is sought


def shepp_logan() -> Tensor:
    """The phantom at 256²."""
    from skimage.data import shepp_logan_phantom
    from skimage.transform import resize

    return torch.from_numpy(resize(shepp_logan_phantom(), (256, 256), anti_aliasing=True)).float()


def untouched() -> Tensor | None:
    """A CT slice of pydicom-data, 512², as multiples of water's attenuation."""
    try:
        from data_store import DataStore  # noqa: F401
    except ImportError:
        return None
    from pydicom.data import get_testdata_file

    from ct.data.images import read_image

    path = get_testdata_file("693_UNCI.dcm", download=False)
    if path is None:
        return None
    image = torch.from_numpy(np.asarray(read_image(path).read(0), dtype=np.float32))
    return (image / 1000 + 1).clamp(min=0)


def halved(image: Tensor) -> Tensor:
    """The image on half as many rows and columns."""
    return torch.nn.functional.avg_pool2d(image[None], 2)[0]


def best_and_chosen(
    name: str, method: Method, iterates: Iterator[Iterate], data: Scanned
) -> tuple[str, ...]:
    """The best number of iterations, and the method's own."""
    (problem,) = data.problems()
    decibels = [
        psnr(iterate.images[0], data.truth[0])
        for iterate in itertools.islice(iterates, MOST[method.name] + 1)
    ]
    best = int(np.argmax(decibels))
    estimate = method.solve(problem, seed=0)
    return (
        name,
        str(data.scan.n_views),
        str(best),
        f"{decibels[best]:.2f}",
        f"{estimate.diagnostics['iterations']} ({estimate.diagnostics['stopped']})",
        f"{psnr(estimate.mean, data.truth[0]):.2f}",
    )


def stopping_table(folder: Path, device: str) -> list[tuple[str, ...]]:
    """Rows of the second table."""
    pictures = [("AAPM 0", halved(aapm(folder, 1)[0])), ("Shepp–Logan", shepp_logan())]
    last = untouched()
    if last is not None:
        pictures.append(("693_UNCI, untouched", halved(last)))
    rows = []
    for (picture, truth), views, snr in itertools.product(pictures, VIEWS, (SNR_DB, 25.0)):
        data = scanned(truth[None].to(device), views, snr)
        problem = least_squares(data.problems())
        for name, method, iterates in (
            ("sirt", ct.sirt(), sirt_iterates(problem, relaxation=1.0, nonnegative=False)),
            ("sirt, image ≥ 0", ct.sirt(nonnegative=True),
             sirt_iterates(problem, relaxation=1.0, nonnegative=True)),
            ("cgls", ct.cgls(), cgls_iterates(problem)),
        ):  # fmt: skip
            rows.append((picture, f"{snr:g} dB", *best_and_chosen(name, method, iterates, data)))
            print(*rows[-1], flush=True)
    return rows


def main() -> None:
    """Run all and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BAYESNN_DATA"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    if arguments.data_dir is None:
        parser.error("name the data folder: --data-dir DIR, or BAYESNN_DATA")
    torch.set_num_threads(arguments.threads)
    folder, device = Path(arguments.data_dir), arguments.device
    command = "python benchmarks/ct_stopping.py --data-dir DIR"
    Report(
        name=f"ct_stopping_{device}",
        title="Stopping at the noise level against the best number of iterations",
        command=command,
        columns=(
            "image",
            "noise",
            "method",
            "views",
            "best iteration",
            "its PSNR (dB)",
            "stopped at",
            "PSNR (dB)",
        ),
        rows=stopping_table(folder, device),
        notes=[
            f"Best among {MOST['sirt']} (sirt) and {MOST['cgls']} (cgls) iterations.",
        ],
    ).write()


if __name__ == "__main__":
    main()
