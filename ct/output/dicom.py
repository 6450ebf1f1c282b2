"""DICOM: CT Image objects, one file a slice, for the mean and for its uncertainty."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ct.data.own_files import MARK
from ct.output.progress import Report
from ct.output.volume import QUANTITIES, Volume

_LEVELS = 65535
_SPARE = 8  # levels left free, so that a slope rounded to 16 characters still holds all values


@dataclass(frozen=True, kw_only=True)
class Rescaling:
    """value = slope · stored + intercept, both as DICOM spells them, in at most 16 characters.

    Attributes:
        slope: the step between two stored numbers.
        intercept: the value of a stored zero.
        largest: the largest value.
    """

    slope: float
    intercept: float
    largest: float


def write_dicom(paths: list[Path], volume: Volume, digest: str, report: Report) -> None:
    """Write a volume as CT Image objects of one series.

    Values are stored in 16 bits, with one slope and intercept for the whole series, so that each
    is within half a slope of what it was. RescaleType is HU, or US (unspecified) for other units,
    which SeriesDescription and ImageComments then name. The patient is left empty. UIDs follow
    from the result's content: what comes from one result shares study and frame of reference, and
    each quantity is a series of its own.

    Args:
        paths: the file of each slice.
        volume: what to write.
        digest: of the result's content.
        report: told the slices that are done.
    """
    scale = _rescaling(volume)
    for index, path in enumerate(paths):
        dataset = _dataset(volume, index, digest, scale)
        dataset.save_as(path, enforce_file_format=True)
        report(index + 1, len(paths))


def _rescaling(volume: Volume) -> Rescaling:
    from pydicom.valuerep import format_number_as_ds

    low, high = np.inf, -np.inf
    for image in volume:
        low, high = min(low, float(image.min())), max(high, float(image.max()))
    # constant values need a slope too, and the intercept has some ten digits
    spread = max(high - low, 1e-4 * max(abs(low), abs(high)), 1e-30)
    slope = float(format_number_as_ds(spread / (_LEVELS - _SPARE)))
    intercept = float(format_number_as_ds(low - slope * _SPARE / 2))
    return Rescaling(slope=slope, intercept=intercept, largest=high)


def _dataset(volume: Volume, index: int, digest: str, scale: Rescaling) -> Any:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    series = f"{volume.what}/{volume.level}" if volume.what in {"lower", "upper"} else volume.what
    number = volume.chosen[index]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = _uid(digest, f"{series}/{number}")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _uid(MARK, "implementation")
    meta.ImplementationVersionName = MARK.upper()
    data: Any = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    _describe(data, volume, digest, series)
    _place(data, volume, index)
    data.SOPClassUID = CTImageStorage
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    data.InstanceNumber = number + 1
    _store(data, volume.read(index), scale)
    data.RescaleType = "HU" if volume.units == "HU" else "US"
    return data


def _describe(data: Any, volume: Volume, digest: str, series: str) -> None:
    versions = volume.source.metadata.get("versions", {})
    units = volume.units or "units unknown"
    # required, and empty because nothing is known of them
    for keyword in (
        "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
        "ReferringPhysicianName", "StudyID", "AccessionNumber", "PositionReferenceIndicator",
        "KVP", "AcquisitionNumber", "PatientPosition", "ContentDate", "ContentTime", "Laterality",
    ):  # fmt: skip
        setattr(data, keyword, None)
    data.SpecificCharacterSet = "ISO_IR 192"
    data.Modality = "CT"
    data.Manufacturer = "bayesnn"
    data.ManufacturerModelName = MARK
    data.SoftwareVersions = str(versions.get("bayesnn", ""))
    data.StudyInstanceUID = _uid(digest, "study")
    data.SeriesInstanceUID = _uid(digest, series)
    data.FrameOfReferenceUID = _uid(digest, "frame of reference")
    data.SeriesNumber = QUANTITIES.index(volume.what) + 1
    data.SeriesDescription = volume.description
    data.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    data.DerivationDescription = f"reconstruction from a sinogram: {volume.description}"
    data.ImageComments = f"{volume.description}; values in {units}"
    data.BurnedInAnnotation = "NO"
    data.LossyImageCompression = "00"


def _place(data: Any, volume: Volume, index: int) -> None:
    from pydicom.valuerep import DSfloat

    _, rows, columns = volume.shape
    size = volume.pixel_size

    def decimal(value: float) -> DSfloat:
        return DSfloat(value, auto_format=True)

    data.PixelSpacing = [decimal(size), decimal(size)]
    data.SliceThickness = decimal(volume.source.grid.slice_spacing)
    # along a row x grows, to the patient's left; down a column y falls, to the back
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    height = volume.height(index)
    corner = (-size * (columns - 1) / 2, -size * (rows - 1) / 2, height)
    data.ImagePositionPatient = [decimal(value) for value in corner]
    data.SliceLocation = decimal(height)


def _store(data: Any, image: np.ndarray, scale: Rescaling) -> None:
    from pydicom.valuerep import DSfloat

    stored = np.round((image.astype(np.float64) - scale.intercept) / scale.slope)
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.Rows, data.Columns = image.shape
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit = 15
    data.PixelRepresentation = 0
    data.PixelData = stored.clip(0, _LEVELS).astype("<u2").tobytes()
    data.RescaleSlope = DSfloat(scale.slope, auto_format=True)
    data.RescaleIntercept = DSfloat(scale.intercept, auto_format=True)
    width = max(scale.largest - scale.intercept, scale.slope)
    data.WindowWidth = DSfloat(width, auto_format=True)
    data.WindowCenter = DSfloat(scale.intercept + width / 2, auto_format=True)


def _uid(digest: str, what: str) -> Any:
    """Return a UID that follows from the content: the same result gives the same ones."""
    from pydicom.uid import UID

    return UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{digest}/{what}').int}")
