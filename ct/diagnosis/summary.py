"""What a result keeps of its slices' mismatch, as JSON can hold it."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from ct.diagnosis.check import Mismatch


def summary_of(mismatch: Mismatch) -> dict[str, Any]:
    """Return the findings, what could not be checked, and χ².

    Args:
        mismatch: of one slice.

    Returns:
        "findings": objects with name, text and size; "unchecked": names; "residual_chi_squared":
        mean squared residual per ray in units of the noise, where there is an image.

    Example:
        >>> summary_of(Mismatch(findings=(), unchecked=("beam hardening",)))
        {'findings': [], 'unchecked': ['beam hardening']}
    """
    found: dict[str, Any] = {
        "findings": [asdict(finding) for finding in mismatch.findings],
        "unchecked": list(mismatch.unchecked),
    }
    if mismatch.residuals is not None and math.isfinite(mismatch.residuals.chi2):
        found["residual_chi_squared"] = mismatch.residuals.chi2
    return found
