"""From a result file to files of other programs, whole or not at all."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bayesnn.files import atomic_write, check_writable
from ct.data.digest import content_digest
from ct.data.disk_room import check_room
from ct.data.own_files import check_replaceable, has_format, is_array, is_marked
from ct.data.result_file import open_reconstruction
from ct.output.dicom import write_dicom
from ct.output.nifti import write_nifti
from ct.output.numpy_array import write_npy
from ct.output.plain_hdf5 import FORMAT as PLAIN_HDF5
from ct.output.plain_hdf5 import write_hdf5
from ct.output.png import value_window, window_text, write_png
from ct.output.progress import Report
from ct.output.tiff import write_tiff
from ct.output.volume import Volume, choose_quantity

_STREAMS: dict[str, Callable[[Path, Volume, Report], None]] = {
    ".nii.gz": write_nifti,
    ".nii": write_nifti,
    ".tif": write_tiff,
    ".tiff": write_tiff,
    ".npy": write_npy,
    ".h5": write_hdf5,
    ".hdf5": write_hdf5,
}
"""Formats that hold a whole volume in one file."""
_PACKED = 0.1  # of what a volume takes: room asked for where it is compressed, which noise resists
_SUFFIXES = (*_STREAMS, ".dcm", ".png")


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What was written.

    Attributes:
        output: the file, or the folder of a DICOM series.
        description: what the values are.
        units: their units; "" where they are unknown.
        slices: how many.
        window: the values of black and white, in words; "" where the file holds the values.
    """

    output: Path
    description: str
    units: str
    slices: int
    window: str = ""


def convert(
    result: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    what: str = "mean",
    level: float = 0.95,
    slice_index: int | None = None,
    window: tuple[float, float] | None = None,
    progress: Report | None = None,
) -> Converted:
    """Write a result's mean or uncertainty for another program, one slice in memory at a time.

    The output's suffix decides: .nii, .nii.gz (NIfTI), .dcm (DICOM; a stack becomes a folder of
    that name without the suffix, with a file for each slice), .tif, .tiff, .npy, .h5 (plain HDF5),
    .png (one slice, 16-bit grey). Values stay in the result's units; `ct.output.volume.Volume`
    says where in space they lie. The output appears only when it is whole.

    Args:
        result: REC.h5.
        output: the file to write, or to replace if it is such a conversion; a folder, or a file of
            another kind, is not replaced.
        what: "mean", "std", "lower" or "upper".
        level: share that the interval of "lower" and "upper" covers.
        slice_index: the place of one slice in the result, from 0; None for all.
        window: the values of black and white, for PNG; None for those of the slice.
        progress: told the slices that are done.

    Returns:
        What was written.

    Raises:
        ValueError: the result cannot be read, the output not written, the suffix is unknown, the
            method gave no uncertainty, or a stack was to become one picture.

    Example:
        >>> convert("rec.h5", "std.nii.gz", what="std")  # doctest: +SKIP
    """
    output = Path(output)
    suffix = next((s for s in _SUFFIXES if output.name.lower().endswith(s)), "")
    if not suffix or output.name.lower() == suffix:
        raise ValueError(
            f"{output}: expected a name that ends in {', '.join(_SUFFIXES)}, which decides the "
            "format."
        )
    if window is not None and suffix != ".png":
        raise ValueError(f"--window: is for PNG, but {output.name} holds the values themselves.")
    with open_reconstruction(result) as source:
        volume = choose_quantity(source, what=what, level=level, index=slice_index)
        report = progress or (lambda _done, _total: None)
        window_said = ""
        if output.exists() and output.samefile(source.path):
            raise ValueError(
                f"{output}: is the input, and would be replaced; choose another output."
            )
        _check_kind(output, suffix, volume)
        with _one_line(output):
            if suffix == ".dcm":
                output = _dicom(output, volume, report)
            elif suffix == ".png":
                window_said = _png(output, volume, window)
            else:
                share = _PACKED if suffix == ".nii.gz" else 1.0
                with atomic_write(output) as temporary:
                    check_room(temporary, int(share * _bytes(volume, 4)))
                    _STREAMS[suffix](temporary, volume, report)
        return Converted(
            output=output,
            description=volume.description,
            units=volume.units,
            slices=len(volume),
            window=window_said,
        )


def _check_kind(output: Path, suffix: str, volume: Volume) -> None:
    """Refuse to replace what is no such conversion; a series' folder is looked at elsewhere."""
    if suffix == ".dcm" and len(volume) > 1:
        return
    kind, is_of_kind = f"{suffix} file of bayesnn-ct", is_marked
    if suffix in {".h5", ".hdf5"}:
        is_of_kind = partial(has_format, name=PLAIN_HDF5)
    elif suffix == ".npy":
        shape = volume.shape[1:] if volume.single else volume.shape
        kind = f"float32 array of shape {list(shape)}"
        is_of_kind = partial(is_array, shape=shape)
    check_replaceable(output, kind, is_of_kind)


def _dicom(output: Path, volume: Volume, report: Report) -> Path:
    digest = content_digest(volume.source.path)
    if len(volume) == 1:
        with atomic_write(output) as temporary:
            write_dicom([temporary], volume, digest, report)
        return output
    folder = output.with_suffix("")
    width = max(4, len(str(len(volume))))
    names = [f"{folder.name}_{index + 1:0{width}d}.dcm" for index in range(len(volume))]
    with _whole_folder(folder) as temporary:
        check_room(temporary / names[0], _bytes(volume, 2))
        write_dicom([temporary / name for name in names], volume, digest, report)
    return folder


def _png(output: Path, volume: Volume, window: tuple[float, float] | None) -> str:
    if len(volume) > 1:
        raise ValueError(
            f"{output}: a PNG holds one slice, the result has {len(volume)}; choose one with "
            "--slice."
        )
    if window is not None and not (
        all(math.isfinite(value) for value in window) and window[0] < window[1]
    ):
        raise ValueError(f"--window: expected BLACK:WHITE with black below white, got {window}.")
    with atomic_write(output) as temporary:
        window = value_window(volume) if window is None else window
        write_png(temporary, volume, window)
    return window_text(window)


def _bytes(volume: Volume, item: int) -> int:
    return item * math.prod(volume.shape)


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder beside `folder`; rename it to `folder` only if the block succeeds."""
    if folder.exists():
        raise ValueError(f"{folder}: exists already; choose another name, or delete it first.")
    check_writable(folder)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def _one_line(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"{output}: cannot be written ({error.strerror or error}); make room or choose another "
            "folder."
        ) from error
