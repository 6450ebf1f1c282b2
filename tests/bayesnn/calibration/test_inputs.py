"""What scores of members ask of their inputs."""

from __future__ import annotations

import numpy as np
import torch

from bayesnn.calibration.inputs import with_members


def test_all_come_back_in_the_widest_dtype() -> None:
    narrow, wide = np.zeros(3, dtype=np.float32), np.zeros((2, 3))
    for y, members in ((narrow, wide), (narrow.astype(float), wide.astype(np.float32))):
        observed, (first, second) = with_members(y, means=members, stds=1.0)
        assert {observed.dtype, first.dtype, second.dtype} == {torch.float64}
        assert second.shape == first.shape == (2, 3)
