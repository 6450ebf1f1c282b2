"""Words from a file as a message may show them: short, on one line, nothing a terminal obeys."""

from __future__ import annotations

_MOST = 120


def shown(words: object, most: int = _MOST) -> str:
    """Return text with what cannot be printed replaced, and cut where it is long.

    Args:
        words: whatever a file says.
        most: how many letters are shown.

    Example:
        >>> shown("a" + chr(27) + "[2J")
        'a?[2J'
    """
    text = " ".join(str(words)[: 4 * most].split())
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= most else text[: most - 1] + "…"
