"""A process that permissions bind, also where it runs as root."""

from __future__ import annotations

import ctypes
import os
import sys

_VERSION_3 = 0x20080522  # of the structures of capset(2)


def give_up_roots_rights() -> bool:
    """Give up what lets root pass over permissions, and return whether they bind now."""
    if os.geteuid() != 0:
        return True
    if not sys.platform.startswith("linux"):
        return False
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    return ctypes.CDLL(None, use_errno=True).capset(header, nothing) == 0
