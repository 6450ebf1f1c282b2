"""A device that a user names for a worker on this machine."""

from __future__ import annotations

import torch


def local_device(given: str | torch.device) -> str:
    """Return the name of a device, "cpu" or a GPU that is here.

    Args:
        given: what a user named.

    Returns:
        The name, as torch writes it.

    Raises:
        ValueError: no device, one that is not here, or one of another type.
    """
    message = f'workers: expected devices such as "cuda:0" or "cpu", got {str(given)!r}.'
    try:
        device = torch.device(given)
    except RuntimeError as error:
        raise ValueError(message) from error
    if device.type not in {"cuda", "cpu"}:
        raise ValueError(message)
    n_gpus = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= n_gpus:
        raise ValueError(f"workers: {device} is not here: this machine has {n_gpus} CUDA devices.")
    return str(device)
