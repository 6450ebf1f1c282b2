"""Versions of installed packages, for files that say what made them."""

from __future__ import annotations

import importlib.metadata


def installed_versions(*names: str) -> dict[str, str]:
    """Return each distribution's version; "not installed" for one that is run from its sources."""
    return {name: _version(name) for name in names}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
