"""A frozen dataclass of settings, as values that a result's metadata can hold."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ct.inr.coordinates import ImageNetwork
from ct.inr.links import Link
from ct.problem import Setting


def plain_settings(config: Any) -> dict[str, Setting]:
    """Return every setting by name, a network's own after a dot, at the end.

    Networks, links and functions are told by the names that a user types.

    Example:
        >>> from ct.inr.siren import Siren
        >>> plain_settings(Siren(width=16))
        {'frequency': 30.0, 'width': 16, 'depth': 4, 'link': 'identity'}
    """
    own: dict[str, Setting] = {}
    inner: dict[str, Setting] = {}
    for key in (field.name for field in fields(config)):
        value = getattr(config, key)
        if isinstance(value, ImageNetwork | Link):
            own[key] = value.name
        else:
            own[key] = getattr(value, "__name__", repr(value)) if callable(value) else value
        if isinstance(value, ImageNetwork):
            inner |= {f"{key}.{name}": told for name, told in value.settings().items()}
    return own | inner
