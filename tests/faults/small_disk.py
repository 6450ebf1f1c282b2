"""A disk of a few kilobytes, where the system lets the tests mount one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class MountError(Exception):
    """The system does not let this process mount anything."""


@contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[Path]:
    """Mount a file system in memory at a folder, which is made, and take it away in the end."""
    place.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True, capture_output=True)


def make_read_only(place: Path) -> None:
    """Mount the file system again so that nothing can be written."""
    _mount("-o", "remount,ro", str(place))


def fill(disk: Path, *, leaving: int) -> Path:
    """Fill a disk but for so many kilobytes, and return the file that fills it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1024)):
                pass
        except OSError:
            file.truncate(max(0, file.tell() - 1024 * leaving))
    return ballast


def _mount(*options: str) -> None:
    try:
        subprocess.run(["mount", *options], check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise MountError("there is no mount command") from error
    except subprocess.CalledProcessError as error:
        raise MountError(error.stderr.strip()) from error
