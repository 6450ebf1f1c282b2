"""PNG: one slice as a grey picture of 16 bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ct.data.own_files import MARK
from ct.output.volume import Volume

_WHITE = 65535


def write_png(path: Path, volume: Volume, window: tuple[float, float]) -> None:
    """Write one slice as grey values; the window is in the picture's text, "Description".

    Args:
        path: the file to write.
        volume: a single slice.
        window: the values of black and of white.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    black, white = window
    share = (volume.read(0).astype(np.float64) - black) / (white - black)
    grey = np.round(_WHITE * share.clip(0, 1)).astype(np.uint16)
    said = PngInfo()
    said.add_text("Software", MARK)
    units = f" {volume.units}" if volume.units else ""
    said.add_text("Description", f"{volume.description}; {window_text(window)}{units}")
    dots_per_inch = 25.4 / volume.pixel_size
    Image.fromarray(grey).save(path, format="PNG", pnginfo=said, dpi=(dots_per_inch, dots_per_inch))


def value_window(volume: Volume) -> tuple[float, float]:
    """Return a slice's smallest and largest value; of a standard deviation zero and the largest.

    Raises:
        ValueError: all values are one.
    """
    image = volume.read(0)
    black, white = 0.0 if volume.what == "std" else float(image.min()), float(image.max())
    if not white > black:
        raise ValueError(
            f"{volume.source.path}: expected several values, found {white:g} alone; give --window."
        )
    return black, white


def window_text(window: tuple[float, float]) -> str:
    """Return a window in words."""
    return f"black {window[0]:g}, white {window[1]:g}"
