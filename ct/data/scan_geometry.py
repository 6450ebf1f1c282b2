"""Grid and rays of a sinogram file, from what it says and what the user says."""

from __future__ import annotations

import math

import numpy as np

from bayesnn.checks import check_count
from ct.data.angle_options import parse_angles
from ct.data.scan_options import ScanOptions
from ct.data.sinogram import SinogramFile
from ct.geometry import FanBeam, ImageGrid, ParallelBeam, Scan
from ct.possible_scan import check_length, check_possible


def settle_geometry(file: SinogramFile, options: ScanOptions) -> tuple[ImageGrid, Scan] | None:
    """Return grid and scan: the user's word first, then the file's, then defaults.

    By default detector bins are 1 mm, pixels are as wide as a bin's shadow on the axis, and the
    image is as wide as the detector's.

    Args:
        file: the opened file.
        options: what the user says.

    Returns:
        Grid and scan; None where nobody gave the angles.

    Raises:
        ValueError: file and options contradict each other or themselves, or no image can be made
            from such a scan.
    """
    angles = _angles(file, options)
    if angles is None:
        return None
    _check_lengths(options)
    scan = _scan(file, options, angles)
    grid = _grid(file, options, scan)
    try:
        check_possible(grid, scan)
    except ValueError as error:
        name, _, said = str(error).partition(":")
        typed = getattr(options, name, None) is not None
        whose = _option(name) if typed else f"{file.path}: {name}"
        raise ValueError(f"{whose}:{said}") from error
    return grid, scan


def _check_lengths(options: ScanOptions) -> None:
    for name in ("pixel_size", "source_origin", "source_detector", "detector_spacing"):
        if getattr(options, name) is not None:
            check_length(getattr(options, name), _option(name))


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _scan(file: SinogramFile, options: ScanOptions, angles: tuple[float, ...]) -> Scan:
    n_detectors = file.shape[2]
    base = ParallelBeam(angles, n_detectors) if file.geometry is None else file.geometry[1]
    if base.n_detectors != n_detectors:
        raise ValueError(
            f"{file.path}: the sinogram has {n_detectors} detectors (shape {list(file.shape)}) "
            f"but its geometry says {base.n_detectors}; make them agree."
        )
    fan = base if isinstance(base, FanBeam) else None
    near, far = options.source_origin, options.source_detector
    if fan is not None:
        near = fan.source_origin if near is None else near
        far = fan.source_detector if far is None else far
    if (near is None) != (far is None):
        raise ValueError(
            "--source-origin and --source-detector: a fan beam needs both, the distances in mm "
            "from the source to the axis and to the detector; give both."
        )
    if options.center is not None and not math.isfinite(options.center):
        raise ValueError(f"--center: expected a detector index, got {options.center}.")
    center = base.center if options.center is None else options.center
    spacing = options.detector_spacing or base.detector_spacing
    if near is None or far is None:
        if options.curved:
            raise ValueError(
                "--curved: is for fan beams; give --source-origin and --source-detector too."
            )
        if options.detector_spacing is None:
            spacing *= _pixel_scale(file, options)
        return ParallelBeam(angles, n_detectors, spacing, center)
    curved = bool(fan and fan.curved) if options.curved is None else options.curved
    offset = fan.source_offset if fan else 0.0
    try:
        return FanBeam(angles, n_detectors, near, far, spacing, center, offset, curved)
    except ValueError as error:
        raise ValueError(f"{file.path}: {error}") from error


def _grid(file: SinogramFile, options: ScanOptions, scan: Scan) -> ImageGrid:
    shadow = scan.detector_spacing / (scan.magnification if isinstance(scan, FanBeam) else 1.0)
    if file.geometry is None:
        grid = ImageGrid((scan.n_detectors, scan.n_detectors), shadow)
    else:
        grid = file.geometry[0]
    scale = _pixel_scale(file, options, grid)
    pixel, shape = grid.pixel_size * scale, grid.shape
    between = grid.slice_spacing
    if isinstance(scan, FanBeam) or options.detector_spacing is not None:
        # the rays stay where they are: the image keeps its width
        shape = (_kept(shape[0], scale), _kept(shape[1], scale))
    else:
        between *= scale
    if options.image_size is not None:
        side = check_count(options.image_size, "--image-size")
        shape = (side, side)
    return ImageGrid(shape, pixel, between)


def _pixel_scale(file: SinogramFile, options: ScanOptions, grid: ImageGrid | None = None) -> float:
    if options.pixel_size is None:
        return 1.0
    usual = grid or (ImageGrid((1, 1)) if file.geometry is None else file.geometry[0])
    return options.pixel_size / usual.pixel_size


def _kept(n: int, scale: float) -> int:
    return max(1, math.ceil(n / scale - 1e-6))


def _angles(file: SinogramFile, options: ScanOptions) -> tuple[float, ...] | None:
    angles, source = _angles_said(file, options)
    slices, views, detectors = file.shape
    if angles is None or len(angles) == views:
        return angles
    remedy = "make them agree"
    if not options.projections and len(angles) == slices:
        remedy = "if the stack holds one image a view, say --projections"
    elif slices == 1 and len(angles) == detectors:
        remedy = "transpose it, if its rows are detectors"
    raise ValueError(
        f"{file.path}: the sinogram has {views} views (shape {list(file.shape)}) but "
        f"{source} {len(angles)} angles; {remedy}."
    )


def _angles_said(file: SinogramFile, options: ScanOptions) -> tuple[tuple[float, ...] | None, str]:
    if options.angles is not None:
        return parse_angles(options.angles, degrees=options.degrees), "--angles gives"
    if options.degrees:
        raise ValueError("--degrees: only says what --angles are; give --angles too.")
    in_geometry = None if file.geometry is None else file.geometry[1].angles
    if file.angles is None or in_geometry is None:
        return file.angles or in_geometry, "the file holds"
    if len(file.angles) == len(in_geometry) and not np.allclose(
        file.angles, in_geometry, rtol=0, atol=1e-6
    ):
        raise ValueError(
            f"{file.path}: its dataset 'angles' and its geometry's angles differ; give --angles."
        )
    # a count that differs is reported against the sinogram's shape
    wrong = len(file.angles) != file.shape[1]
    return (file.angles if wrong else in_geometry), "the file holds"
