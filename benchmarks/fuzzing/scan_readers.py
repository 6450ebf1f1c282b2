"""How users read files of scans and images: each opened, and all of it looked at."""

from __future__ import annotations

from pathlib import Path

from ct.data.images import read_image
from ct.data.result_file import holds_result, merge_results, read_result
from ct.data.scan_options import ScanOptions
from ct.description import describe_file


def read_scan(path: Path) -> None:
    """As `bayesnn-ct info` and `reconstruct` do: geometry, every slice, every attribute."""
    describe_file(path)


def read_result_file(path: Path) -> None:
    """As `bayesnn-ct info`, `evaluate` and `convert` do; any HDF5 file may be called a result."""
    if holds_result(path):
        result = read_result(path)
        repr(result)
        if result.std is not None:
            result.interval(0.9)
        merge_results([path, path], path.with_name("merged"))
    describe_file(path)


def read_scan_and_image(path: Path) -> None:
    """As a sinogram, and as an image where it is none."""
    options = ScanOptions(angles="0:180:12", degrees=True, values="line integrals")
    try:
        describe_file(path, options)
    finally:
        read_image(path)
