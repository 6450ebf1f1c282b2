"""The scans of the CT tests, for files that are made from whole ones."""

from tests.ct.conftest import folder, prepared

__all__ = ["folder", "prepared"]
