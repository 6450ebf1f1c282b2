"""How the counts of a file become line integrals: flats and darks, or one number."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool

from bayesnn.checks import check_positive
from ct.data.counts import estimate_gain
from ct.data.detector_response import (
    DetectorResponse,
    interpolated,
    response_from_flats,
    response_from_i0,
)
from ct.data.scan_options import ScanOptions
from ct.data.sinogram import SinogramFile

_LOOKED_AT = 5
"""Slices, evenly spread, from which a file's gain is taken: their median."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """What turns a file's counts into line integrals.

    Attributes:
        file: the sinograms, with their flats and darks.
        i0: reading of an empty ray, where the user gave it; it comes before flats, and flats
            before the file's attribute `i0`.
        gain: reading of one photon; None where nothing tells.
        gain_from: "given", "the file", "flats" or "sinogram": why.
    """

    file: SinogramFile
    i0: float | None
    gain: float | None = None
    gain_from: str = ""

    def response(self, index: int) -> DetectorResponse:
        """Return what the detector's bins of one slice read.

        Raises:
            ValueError: flats or darks that cannot be used.
        """
        darks = None if self.file.darks is None else self.file.darks.read(index)
        try:
            if self.i0 is not None:
                return response_from_i0(self.i0, self.file.shape[2], darks)
            if self.file.flats is None:
                raise ValueError("flats: expected some, or --i0")
            before = response_from_flats(self.file.flats.read(index), darks)
            if self.file.flats_after is None:
                return before
            after = response_from_flats(self.file.flats_after.read(index), darks)
            return interpolated(before, after, self.file.shape[1])
        except ValueError as error:
            raise ValueError(f"{self.file.path}: slice {index}: {error}") from error

    def broken(self, index: int) -> Bool[np.ndarray, " detectors"]:
        """Return which bins of one slice do not measure."""
        return self.response(index).broken

    def faults(self) -> dict[str, int]:
        """Return how many bins of all slices have each fault."""
        total: dict[str, int] = {}
        for index in range(self.file.shape[0]):
            for name, count in self.response(index).faults.items():
                total[name] = total.get(name, 0) + count
        return total

    def with_gain(self, given: float | None) -> Calibration:
        """Return the same with a gain.

        The gain is the user's; or the file's attribute `gain`; or the flats' own (see
        `response_from_flats`); or what the scatter of the sinogram itself asks for
        (`estimate_gain`), where the flats are too few.

        Args:
            given: the user's word.

        Raises:
            ValueError: `given` is not above 0.
        """
        if given is not None:
            return replace(self, gain=check_positive(given, "--gain"), gain_from="given")
        if "gain" in self.file.metadata:
            gain = check_positive(self.file.metadata["gain"], f"{self.file.path}: gain")
            return replace(self, gain=gain, gain_from="the file")
        slices = self.file.shape[0]
        looked_at = np.unique(np.linspace(0, slices - 1, min(slices, _LOOKED_AT)).astype(int))
        responses = {int(index): self.response(int(index)) for index in looked_at}
        found = [one.gain for one in responses.values() if one.gain is not None]
        if found:
            return replace(self, gain=float(np.median(found)), gain_from="flats")
        from_rays = [estimate_gain(self.file.read(i), one) for i, one in responses.items()]
        found = [gain for gain in from_rays if gain is not None]
        if found:
            return replace(self, gain=float(np.median(found)), gain_from="sinogram")
        return self


def calibrate(file: SinogramFile, options: ScanOptions) -> Calibration | None:
    """Return what turns a file's counts into line integrals, without its gain.

    Args:
        file: the sinograms, with flats and darks where there are any.
        options: what the user says.

    Returns:
        The calibration; None where nobody says what an empty ray reads.

    Raises:
        ValueError: an `i0` that is not above 0, or beside flats that the user names.
    """
    if options.flats_after is not None and file.flats is None:
        raise ValueError("--flats-after: needs the readings from before the scan; give --flats.")
    if options.i0 is not None and options.flats is not None:
        raise ValueError("--i0 and --flats: both say what an empty ray reads; give one of them.")
    i0 = None if options.i0 is None else check_positive(options.i0, "--i0")
    if i0 is None and file.flats is None:
        if "i0" not in file.metadata:
            return None
        i0 = check_positive(file.metadata["i0"], f"{file.path}: i0")
    return Calibration(file=file, i0=i0)
