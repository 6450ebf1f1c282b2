"""What a user says of a run, turned into what it means: device, slices, memory."""

from __future__ import annotations

import re

import torch

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def choose_device(name: str) -> torch.device:
    """Return the device that a user named; "auto" is the GPU where there is one.

    Args:
        name: "auto", "cpu", "cuda" or "cuda:1".

    Returns:
        The device.

    Raises:
        ValueError: no such device here.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in {"cpu", "cuda"}:
        raise ValueError(f"--device: expected auto, cpu, cuda or cuda:N, got {name!r}.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"--device: {name} is not here ({torch.cuda.device_count()} CUDA devices found); say "
            "--device cpu."
        )
    return device


def parse_slices(text: str | None, n_slices: int) -> list[int]:
    """Return the slices that "a:b" names, from a to before b; either may be left out.

    Args:
        text: "a:b", or None for all.
        n_slices: how many there are.

    Returns:
        Their numbers.

    Raises:
        ValueError: another form, or slices that are not there.

    Example:
        >>> parse_slices("1:3", 5), parse_slices("3:", 5)
        ([1, 2], [3, 4])
    """
    match = re.fullmatch(r"(\d*):(\d*)", text or ":")
    if match is None:
        raise ValueError(f"--slices: expected a:b, such as 0:{n_slices}, got {text!r}.")
    start, stop = int(match[1] or 0), int(match[2] or n_slices)
    if not 0 <= start < stop <= n_slices:
        raise ValueError(
            f"--slices: expected a:b with 0 ≤ a < b ≤ {n_slices} (the file's slices), got {text!r}."
        )
    return list(range(start, stop))


def parse_bytes(text: str) -> int:
    """Return the bytes that "2GB", "512 MiB" or "1000000" name.

    Args:
        text: a number above 0 and B, kB, MB, GB, KiB, MiB or GiB, the B optional.

    Returns:
        How many bytes.

    Raises:
        ValueError: another form.

    Example:
        >>> parse_bytes("1.5GB"), parse_bytes("2MiB")
        (1500000000, 2097152)
    """
    match = re.fullmatch(r"(\d+(?:\.\d*)?)\s*(|k|M|G|Ki|Mi|Gi)B?", text.strip())
    size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if size < 1:
        raise ValueError(f"--memory-budget: expected a size such as 2GB or 512MiB, got {text!r}.")
    return size
