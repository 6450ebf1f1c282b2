"""A scan of a few numbers, from which seeds of every format are made."""

from __future__ import annotations

import numpy as np

SLICES, VIEWS, BINS = 2, 12, 9
DEGREES = np.arange(VIEWS) * 15.0
RADIANS = np.deg2rad(DEGREES)
COUNTS = np.random.default_rng(0).integers(500, 4000, (SLICES, VIEWS, BINS)).astype(np.uint16)
INTEGRALS = np.random.default_rng(1).uniform(0.1, 2, (SLICES, VIEWS, BINS)).astype(np.float32)
IMAGE = np.random.default_rng(2).integers(0, 255, (SLICES, 8, 8)).astype(np.uint8)
