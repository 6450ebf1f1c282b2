"""What was noticed, in words and numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something in the measurements that contradicts their description.

    Attributes:
        name: "centre of rotation", "rings", "beam hardening", "truncation" or "noise".
        text: what was noticed, how much of it, and what to do.
        size: how much: bins; stripes; β of y = p − βp²; share of the views; estimated over given
            noise.
    """

    name: str
    text: str
    size: float
