"""Sinograms in MATLAB files, such as those of the Helsinki tomography challenges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ct.data.angle_units import angles_in_radians
from ct.data.matlab_file import Fields, read_matlab
from ct.data.shown import shown
from ct.data.sinogram import SinogramFile
from ct.data.stack import Stack, check_real, stack_shape
from ct.geometry import FanBeam, ImageGrid

_MILLIMETRES = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 1e-3, "µm": 1e-3, "micron": 1e-3}


def open_matlab_sinogram(path: Path, *, dataset: str | None = None) -> SinogramFile:
    """Read a MATLAB file's sinogram with its geometry.

    The challenges' files hold one struct (`CtDataFull`, `CtDataLimited`, `CtData`) with the fields
    `sinogram` [views, detectors], −log already taken, and `parameters`: angles in degrees, which
    enter with a plus sign, and the distances of the central slice's fan beam
    (`distanceSourceOrigin`, `distanceSourceDetector`, `pixelSizePost`, `numDetectorsPost`,
    `effectivePixelSizePost`; in files without binning the names lack "Post"). The image grid has as
    many pixels as the detector has bins, of the effective pixel size.

    Args:
        path: the file.
        dataset: name of another variable, a matrix or a stack of them, without geometry.

    Returns:
        The description.

    Raises:
        ValueError: truncated, without the struct, or with parameters that are missing or cannot be.

    Source:
        A. Meaney, F. S. de Moura, M. Juvonen, S. Siltanen, Helsinki Tomography Challenge 2022,
        Zenodo 7418878.
    """
    content = read_matlab(path)
    if dataset is not None:
        return SinogramFile(stack=_variable(content, dataset, path))
    found = [name for name, item in content.items() if _is_scan(item)]
    if len(found) != 1:
        held = ", ".join(_described(name, item) for name, item in content.items()) or "nothing"
        raise ValueError(
            f"{path}: expected one struct with fields 'sinogram' and 'parameters', found {held}; "
            "say --dataset and a matrix's name."
        )
    scan, parameters = content[found[0]], content[found[0]]["parameters"]
    where = f"{path}: {shown(found[0], 40)}.parameters"
    angles = angles_in_radians(
        np.atleast_1d(_field(parameters, where, "angles")), "degrees", f"{where}.angles"
    )
    values = np.asarray(scan["sinogram"])
    if values.ndim == 2 and values.shape[0] != len(angles) == values.shape[1]:
        values = values.T
    stack = _stack(values, path, f"MATLAB struct {shown(found[0], 40)}")
    beam = _fan_beam(parameters, where, angles, stack.shape[2])
    pixel = _pixel_size(parameters, where, beam)
    names = ("projectName", "scanner", "date", "detector", "voltage", "current", "exposureTime")
    return SinogramFile(
        stack=stack,
        angles=angles,
        geometry=(ImageGrid((stack.shape[2], stack.shape[2]), pixel), beam),
        values="line integrals",
        image_units="1/mm",
        metadata={name: shown(parameters[name]) for name in names if name in parameters},
    )


def _is_scan(item: Any) -> bool:
    return (
        isinstance(item, dict) and "sinogram" in item and isinstance(item.get("parameters"), dict)
    )


def _fan_beam(
    parameters: Fields, where: str, angles: tuple[float, ...], n_detectors: int
) -> FanBeam:
    scale = _MILLIMETRES.get(str(parameters.get("distanceUnit", "mm")).strip().lower())
    if scale is None:
        raise ValueError(
            f"{where}.distanceUnit: expected mm, cm, m or um, found "
            f"{shown(parameters['distanceUnit'], 40)!r}."
        )
    said = parameters.get("numDetectorsPost", n_detectors)
    if _number(said, f"{where}.numDetectorsPost") != n_detectors:
        raise ValueError(
            f"{where}: the sinogram has {n_detectors} detectors but numDetectorsPost says "
            f"{shown(said, 20)}; "
            "make them agree."
        )
    near, far, bin_size = (
        scale * _number(_field(parameters, where, *names), f"{where}.{names[0]}")
        for names in (
            ("distanceSourceOrigin",),
            ("distanceSourceDetector",),
            ("pixelSizePost", "pixelSize"),
        )
    )
    try:
        return FanBeam(angles, n_detectors, near, far, bin_size)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _pixel_size(parameters: Fields, where: str, beam: FanBeam) -> float:
    names = ("effectivePixelSizePost", "effectivePixelSize")
    implied = beam.detector_spacing / beam.magnification
    for name in names:
        if name in parameters:
            said = _number(parameters[name], f"{where}.{name}")
            # written in the distances' unit, as the detector's bins are
            return implied if abs(said - implied) < 1e-3 * implied else said
    return implied


def _field(parameters: Fields, where: str, *names: str) -> Any:
    for name in names:
        if name in parameters:
            return parameters[name]
    held = shown(", ".join(sorted(parameters)), 300) or "none"
    raise ValueError(
        f"{where}: expected {' or '.join(names)}, found {held}; "
        "say --dataset and give the geometry as options."
    )


def _number(value: Any, where: str) -> float:
    try:
        return float(np.asarray(value, dtype=np.float64).reshape(()))
    except (TypeError, ValueError):
        raise ValueError(f"{where}: expected one number, found {shown(repr(value), 40)}.") from None


def _variable(content: Fields, name: str, path: Path) -> Stack:
    item: Any = content
    for part in name.strip("/").replace("/", ".").split("."):
        item = item.get(part) if isinstance(item, dict) else None
    if not isinstance(item, np.ndarray):
        held = ", ".join(_described(key, value) for key, value in content.items()) or "nothing"
        raise ValueError(f"{path}: expected a matrix {name!r}, found {held}; name another.")
    return _stack(item, path, f"MATLAB matrix {name}")


def _stack(values: NDArray[Any], path: Path, kind: str) -> Stack:
    check_real(values.dtype, path)
    shape = stack_shape(values.shape, path, "a sinogram [views, detectors]")
    slices = values.reshape(shape)
    whole = values.dtype.kind in "biu"
    return Stack(path=path, shape=shape, load=lambda index: slices[index], kind=kind, whole=whole)


def _described(name: str, item: Any) -> str:
    name = shown(name, 40)
    if isinstance(item, dict):
        return f"{name} (struct of {shown(', '.join(list(item)[:4]))})"
    shape = getattr(item, "shape", ())
    return f"{name} ({'×'.join(map(str, shape)) or type(item).__name__})"
