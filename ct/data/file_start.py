"""The first bytes of a file, by which its kind is known; names and suffixes are not trusted."""

from __future__ import annotations

from pathlib import Path

from ct.data.shown import shown

HDF5 = b"\x89HDF\r\n\x1a\n"
NPY = b"\x93NUMPY"
MATLAB = b"MATLAB "
PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_start(path: Path) -> bytes:
    """Return a file's first bytes.

    Args:
        path: the file.

    Returns:
        132 bytes, or all of a shorter file.

    Raises:
        ValueError: the file is missing, a folder, unreadable or empty.
    """
    if path.is_dir():
        raise ValueError(f"{path}: expected a file, found a folder; name a file in it.")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: expected a file, found a pipe or device; copy it to a file.")
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file; check the path.") from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}).") from error
    if not start:
        raise ValueError(f"{path}: the file is empty; write or copy it again.")
    return start


def is_hdf5(path: Path) -> bool:
    """Return whether a file is HDF5, which may begin behind a block of another program's."""
    with path.open("rb") as file:
        end, place = file.seek(0, 2), 0
        while place + len(HDF5) <= end:
            file.seek(place)
            if file.read(len(HDF5)) == HDF5:
                return True
            place = max(2 * place, 512)
    return False


def is_dicom(start: bytes) -> bool:
    """Return whether a file's first bytes are those of DICOM."""
    return start[128:132] == b"DICM"


def is_tiff(start: bytes) -> bool:
    """Return whether a file's first bytes are those of TIFF, and not of DICOM that begins so."""
    return start.startswith(_TIFF) and not is_dicom(start)


def files_in(folder: Path) -> list[Path]:
    """Return a folder's files in the order of the numbers in their names; hidden ones left out.

    Raises:
        ValueError: there is none, the folder cannot be read, or a file in it is a link to one
            that lies elsewhere.
    """
    try:
        found = [path for path in folder.iterdir() if path.is_file() and path.name[0] != "."]
    except OSError as error:
        raise ValueError(f"{folder}: cannot be read ({error.strerror}).") from error
    for path in found:
        if path.is_symlink() and path.resolve().parent != folder.resolve():
            raise ValueError(
                f"{path}: expected a file of the folder itself, found a link to "
                f"{shown(path.resolve())}, which is not followed; copy that file into the folder."
            )
    if not found:
        raise ValueError(f"{folder}: expected a folder of slices, found no file in it.")
    return sorted(found, key=lambda path: _numbers_apart(path.name))


def _numbers_apart(name: str) -> list[tuple[int, int, str]]:
    """Return a sorting key in which slice_10 comes after slice_9."""
    words, digits = [""], False
    for letter in name:
        if letter.isdecimal() != digits:
            words.append("")
            digits = not digits
        words[-1] += letter
    return [(0, int(word), "") if word.isdecimal() else (1, 0, word) for word in words]
