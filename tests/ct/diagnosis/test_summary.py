"""Every result says what its measurements showed, whatever the method."""

from __future__ import annotations

import json
import math

import torch

import ct
from tests.reference.ellipses import line_integrals, random_ellipses, with_noise

SCAN = ct.ParallelBeam([math.pi * k / 60 for k in range(60)], 96)
GRID = ct.ImageGrid((96, 96))
NOISY, STD = with_noise(
    0.01 * line_integrals(random_ellipses(0, radius=38), SCAN), snr_db=40, seed=0
)


def test_a_stack_has_findings_for_each_slice() -> None:
    shifted = torch.roll(NOISY, 1, dims=1)
    stack = torch.stack([NOISY, shifted]).float()
    result = ct.reconstruct(stack, SCAN, GRID, method=ct.fbp(), noise_std=STD)
    first, second = result.metadata["diagnostics"]
    assert first["findings"] == []
    assert len(second["findings"]) == 1
    assert second["findings"][0]["name"] == "centre of rotation"
    assert "higher" in second["findings"][0]["text"]
    json.dumps(result.metadata["diagnostics"])


def test_chi_squared_is_that_of_the_image() -> None:
    result = ct.reconstruct(NOISY.float(), SCAN, GRID, method=ct.fbp(), noise_std=STD)
    residual = (ct.projector(GRID, SCAN)(result.mean) - NOISY) / STD
    (found,) = result.metadata["diagnostics"]
    assert math.isclose(
        found["residual_chi_squared"], float(residual.square().mean()), rel_tol=1e-4
    )
