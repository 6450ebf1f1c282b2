"""The demonstration: a real CT slice, scanned with few views, reconstructed with error bars."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from bayesnn.files import check_writable
from ct.classical.filtered_backprojection import filtered_backprojection
from ct.classical.windows import hann, ramp
from ct.data.images import read_image
from ct.data.own_files import check_replaceable, is_marked
from ct.data.result_file import holds_result
from ct.data.scan_input import open_scan
from ct.data.simulate_config import SimulateConfig
from ct.data.simulation import simulate_file
from ct.data.sinogram_file import holds_sinogram
from ct.evaluation import Evaluation, evaluate
from ct.figure import reconstruction_panels, save_figure
from ct.reconstruct_config import ReconstructConfig
from ct.result import Reconstruction
from ct.slice_scores import score_image
from ct.slice_tally import Progress
from ct.workflow import reconstruct_file

_QUICK = {"n_folds": 5}


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """What `bayesnn-ct demo` was asked for.

    Attributes:
        folder: where the files go; it is made if it is not there.
        method: the method's name.
        settings: the method's settings; None for half as many folds as usual, to save time.
        device: "auto", "cpu", "cuda" or "cuda:1".
        seed: seed of the noise and of the method.
        views: number of angles.
        snr_db: signal-to-noise ratio of the sinogram in dB.
    """

    folder: Path
    method: str = "jackknife"
    settings: dict[str, Any] | None = None
    device: str = "auto"
    seed: int = 0
    views: int = 60
    snr_db: float = 40.0


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demonstration found and where it put it.

    Attributes:
        evaluation: scores of the reconstruction.
        baselines: scores of filtered back-projection of the same sinogram, by name.
        sinogram: the sinogram file.
        reconstruction: the result file.
        figure: the picture.
    """

    evaluation: Evaluation
    baselines: dict[str, Evaluation]
    sinogram: Path
    reconstruction: Path
    figure: Path


def run_demo(config: DemoConfig, *, progress: Progress | None = None) -> DemoResult:
    """Scan the real CT slice that pydicom ships, reconstruct it, score it and draw it.

    Args:
        config: where to, and how.
        progress: told how much of the reconstruction is done, and of how much.

    Returns:
        The scores, and the files: sinogram.h5, reconstruction.h5 and figure.png.

    Raises:
        ValueError: the folder cannot be written, or holds other files of these names.
    """
    image_file = _real_slice()
    paths = _output_paths(config.folder)
    simulate_file(
        SimulateConfig(
            image=image_file,
            output=paths["sinogram.h5"],
            views=config.views,
            snr_db=config.snr_db,
            seed=config.seed,
        )
    )
    reconstruct_file(
        ReconstructConfig(
            sinogram=paths["sinogram.h5"],
            output=paths["reconstruction.h5"],
            method=config.method,
            settings=_QUICK if config.settings is None else config.settings,
            device=config.device,
            seed=config.seed,
        ),
        progress=progress,
    )
    truth = read_image(image_file)
    reconstruction = Reconstruction.load(paths["reconstruction.h5"])
    baselines, images = _filtered_backprojections(paths["sinogram.h5"], truth.read(0))
    evaluation = evaluate(reconstruction, truth.read(0)[None])
    best = max(baselines, key=lambda name: baselines[name].mean.psnr)
    scan = open_scan(paths["sinogram.h5"])
    grid, rays = scan.geometry()
    std = reconstruction.std
    assert std is not None, "the demonstration is of a method with error bars"
    panels = reconstruction_panels(
        sinogram=scan.read(0).values,
        truth=truth.read(0),
        baseline=images[best],
        mean=reconstruction.mean[0].numpy(),
        std=std[0].numpy(),
        grid=grid,
        scan=rays,
        units=truth.units,
        titles=(
            f"filtered back-projection: {baselines[best].mean.psnr:.1f} dB",
            f"posterior mean: {evaluation.mean.psnr:.1f} dB",
        ),
    )
    save_figure(paths["figure.png"], panels)
    return DemoResult(
        evaluation=evaluation,
        baselines=baselines,
        sinogram=paths["sinogram.h5"],
        reconstruction=paths["reconstruction.h5"],
        figure=paths["figure.png"],
    )


def _real_slice() -> Path:
    from pydicom.data import get_testdata_file

    # part of the package: nothing is downloaded
    path = get_testdata_file("CT_small.dcm", download=False)
    if path is None:
        raise ValueError("pydicom's CT_small.dcm is missing; install pydicom again.")
    return Path(str(path))


def _output_paths(folder: Path) -> dict[str, Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"--out: {folder} cannot be made ({error.strerror}); choose another folder."
        ) from error
    kinds = {
        "sinogram.h5": holds_sinogram,
        "reconstruction.h5": holds_result,
        "figure.png": is_marked,
    }
    for name, is_of_kind in kinds.items():
        path = check_writable(folder / name)
        check_replaceable(path, "file of an earlier demo", is_of_kind)
    return {name: folder / name for name in kinds}


def _filtered_backprojections(
    sinogram: Path, truth: Float32[np.ndarray, "rows columns"]
) -> tuple[dict[str, Evaluation], dict[str, Float32[np.ndarray, "rows columns"]]]:
    scan = open_scan(sinogram)
    grid, rays = scan.geometry()
    values = torch.from_numpy(scan.read(0).values)
    evaluations, images = {}, {}
    for window in (ramp, hann):
        name = f"filtered back-projection, {window.__name__}"
        image = filtered_backprojection(values, grid, rays, window=window)
        scores = score_image(image.double(), torch.from_numpy(truth).double())
        evaluations[name] = Evaluation(mean=scores, slices=(scores,))
        images[name] = image.numpy()
    return evaluations, images
