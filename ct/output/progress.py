"""How writers say how far they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Report: TypeAlias = Callable[[int, int], None]
"""Called with (slices done, slices in all)."""
