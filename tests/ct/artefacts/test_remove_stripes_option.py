"""`reconstruct --remove-stripes` gives the image of the sinogram without its stripes."""

from __future__ import annotations

import math
from pathlib import Path

import h5py
import numpy as np
import torch

import ct
from ct.cli import run
from tests.reference.ellipses import line_integrals, random_ellipses, with_noise


def test_the_option_does_what_the_function_does(tmp_path: Path) -> None:
    scan = ct.ParallelBeam([math.pi * k / 60 for k in range(60)], 96)
    sinogram, std = with_noise(
        line_integrals(random_ellipses(0, radius=38), scan), snr_db=40, seed=0
    )
    sinogram[:, 33] += 10 * std
    with h5py.File(tmp_path / "sino.h5", "w") as file:
        file["sinogram"] = sinogram.numpy().astype(np.float32)
        file["angles"] = np.array(scan.angles)
    common = f"reconstruct {tmp_path}/sino.h5 --method fbp --line-integrals -o {tmp_path}"
    assert run(f"{common}/with.h5".split()) == 0
    assert run(f"{common}/without.h5 --remove-stripes".split()) == 0
    images = []
    for name in ("with", "without"):
        with h5py.File(tmp_path / f"{name}.h5") as file:
            images.append(torch.from_numpy(file["mean"][0]))
    cleaned = ct.remove_stripes(sinogram.float())
    expected = ct.reconstruct(cleaned, scan, ct.ImageGrid((96, 96)), method=ct.fbp(), noise_std=std)
    assert torch.allclose(images[1], expected.mean, atol=1e-5)
    assert float((images[0] - images[1]).abs().max()) > 0.01
