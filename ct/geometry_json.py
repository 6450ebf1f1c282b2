"""Grid and scan as JSON, the form in which files hold them."""

from __future__ import annotations

import json
from typing import Any

from bayesnn.plain_json import parse_json
from ct.data.shown import shown
from ct.geometry import FanBeam, ImageGrid, ParallelBeam, Scan

_FORMAT_VERSION = 1
_KINDS: dict[str, type[Scan]] = {"parallel-beam": ParallelBeam, "fan-beam": FanBeam}


def geometry_to_json(grid: ImageGrid, scan: Scan) -> str:
    """Write grid and scan as one JSON object, exactly: reading it back gives equal ones.

    Args:
        grid: where the pixels are.
        scan: where the rays are.

    Returns:
        {"version": 1, "grid": {…}, "scan": {"kind": "parallel-beam", …}} with mm and radians.

    Example:
        >>> from ct.geometry import ImageGrid, ParallelBeam
        >>> text = geometry_to_json(ImageGrid((2, 2)), ParallelBeam((0.0,), 3))
        >>> geometry_from_json(text) == (ImageGrid((2, 2)), ParallelBeam((0.0,), 3))
        True
    """
    kind = next(kind for kind, scan_type in _KINDS.items() if isinstance(scan, scan_type))
    # vars() keeps the fields' order; every field is a number or a tuple of numbers
    return json.dumps({
        "version": _FORMAT_VERSION,
        "grid": vars(grid),
        "scan": {"kind": kind, **vars(scan)},
    })


def geometry_from_json(text: str) -> tuple[ImageGrid, Scan]:
    """Read what `geometry_to_json` wrote.

    Args:
        text: the JSON object.

    Returns:
        The grid and the scan.

    Raises:
        ValueError: not JSON, of a later version, of an unknown kind, or with fields that are
            missing, unknown or impossible.
    """
    try:
        content = parse_json(text)
    except ValueError as error:
        raise ValueError(
            f"geometry: expected a JSON object, got {text[:40]!r} ({error})."
        ) from None
    if not isinstance(content, dict) or content.get("version") != _FORMAT_VERSION:
        version = content.get("version") if isinstance(content, dict) else None
        raise ValueError(
            f"geometry: expected version {_FORMAT_VERSION}, got {version!r:.40}; the file is "
            "foreign or was written by a later release."
        )
    fields = dict(_object(content, "scan"))
    kind = fields.pop("kind", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        known = ", ".join(_KINDS)
        raise ValueError(f"geometry: expected a scan of kind {known}, got {kind!r:.40}.")
    try:
        return ImageGrid(**_object(content, "grid")), _KINDS[kind](**fields)
    except TypeError as error:  # fields missing or unknown
        raise ValueError(f"geometry: {shown(error)}.") from error


def _object(content: dict[str, Any], key: str) -> dict[str, Any]:
    value = content.get(key)
    if not isinstance(value, dict):
        raise ValueError(f"geometry: expected an object named {key!r}, got {value!r:.40}.")
    return value
