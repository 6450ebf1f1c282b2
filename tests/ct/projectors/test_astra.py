"""The same line integrals as ASTRA's, parallel and fan, with centres and offsets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ct.geometry import FanBeam, ImageGrid, ParallelBeam, Scan
from ct.projectors.operator import projector
from tests.reference.astra_peer import AstraProjector
from tests.reference.gaussian_phantom import GaussianBlob

pytest.importorskip("astra", reason="astra-toolbox (the benchmarks extra) is not installed")

GRID = ImageGrid((48, 64), 0.5)
BLOB = GaussianBlob(x=4.0, y=-3.0, a=3.0, b=4.5, tilt=0.4)
WHOLE_TURN = 2 * np.pi * np.arange(20) / 20
SCANS: dict[str, Scan] = {
    "parallel": ParallelBeam(WHOLE_TURN / 2, 90, 0.5, center=46.0),
    "fan": FanBeam(WHOLE_TURN, 90, 40.0, 70.0, 0.8),
    "fan aside": FanBeam(WHOLE_TURN, 90, 40.0, 70.0, 0.8, center=46.0, source_offset=1.3),
}


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def _blocks(image: np.ndarray) -> np.ndarray:
    """Means over 4 × 4 pixels."""
    rows, columns = image.shape
    return image.reshape(rows // 4, 4, columns // 4, 4).mean(axis=(1, 3))


@pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS.keys())
def test_agrees_with_astra(scan: Scan) -> None:
    image = BLOB.image(GRID).float()
    operator, peer = projector(GRID, scan), AstraProjector(GRID, scan)
    sinogram = operator(image)
    assert _relative(sinogram.numpy(), peer.forward(image.numpy())) < 0.005
    # in a fan, ASTRA weighs pixels by the length of the ray in them: alike on average only
    ours, theirs = operator.T(sinogram).numpy(), peer.adjoint(sinogram.numpy())
    assert _relative(_blocks(ours), _blocks(theirs)) < 0.01
    flipped = torch.flip(image, dims=(0,))
    assert _relative(operator(flipped).numpy(), peer.forward(image.numpy())) > 0.3
    peer.close()
