"""Rendered capital letters: images that are drawn like digits and are none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LIKE_DIGITS = "BDGILOQSTZ"  # take for 8 0 6 1 1 0 0 5 7 2: of these no doubt can be asked
FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono")
CAPITAL = 0.729  # height of DejaVu's capitals, in sizes of the font
SHIFT = 0.04  # of the side, either way
TURN = 15.0  # degrees, either way


def draw_letters(
    per_letter: int, *, side: int, height: float, seed: int, letters: str = LETTERS
) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """Return white letters on black, shifted and turned at random.

    Args:
        per_letter: images of each letter.
        side: of the images, in pixels.
        height: of the letters, in pixels.
        seed: of fonts, shifts and turns; image i of a letter depends on it, the letter and i alone.
        letters: which to draw.

    Returns:
        Images in [0, 1], [n, side, side], and the letter that each shows.
    """
    import matplotlib as mpl
    from PIL import ImageFont

    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    size = 2 * height / CAPITAL  # drawn at twice the size, so that a turn leaves smooth edges
    fonts = [ImageFont.truetype(str(folder / f"{name}.ttf"), size=size) for name in FONTS]
    images = [
        _drawn(letter, side, fonts, np.random.default_rng((seed, ord(letter), i)))
        for letter in letters
        for i in range(per_letter)
    ]
    return np.stack(images), np.repeat(np.array(list(letters)), per_letter)


def _drawn(
    letter: str, side: int, fonts: list[FreeTypeFont], rng: np.random.Generator
) -> NDArray[np.float64]:
    from PIL import Image, ImageDraw

    font = fonts[rng.integers(len(fonts))]
    x, y = side + 2 * side * rng.uniform(-SHIFT, SHIFT, 2)
    picture = Image.new("L", (2 * side, 2 * side))
    # anchored at the middle of the capital, not of the line: descenders do not lift a Q
    baseline = y + CAPITAL * font.size / 2
    ImageDraw.Draw(picture).text((x, baseline), letter, fill=255, font=font, anchor="ms")
    turned = picture.rotate(rng.uniform(-TURN, TURN), resample=Image.Resampling.BILINEAR)
    small = turned.resize((side, side), resample=Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float64) / 255
