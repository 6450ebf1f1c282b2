"""One slice as it was measured: what a reconstruction needs to know of its rays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """Line integrals of one slice, with what is known of each ray's noise.

    Attributes:
        values: attenuation times length; a ray that was not measured holds a guess, interpolated
            from its neighbours on the detector.
        noise_std: standard deviation of each ray's noise in the units of `values`, infinity where
            the ray was not measured; None where nothing is known and it must be estimated.
        n_missing: how many rays were not measured.
        n_raised: how many readings at or below zero were raised so as to have a logarithm.
    """

    values: Float32[np.ndarray, "views detectors"]
    noise_std: Float32[np.ndarray, "views detectors"] | None = None
    n_missing: int = 0
    n_raised: int = 0
