"""Where a user wants slices to be reconstructed, turned into an executor that fits the device."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import torch

from ct.run_options import choose_device

if TYPE_CHECKING:
    from bayesnn.executors.protocol import Executor


def choose_executor(text: str, device: str) -> tuple[Executor, str]:
    """Return the executor that a user named, and the kind of device that its workers compute on.

    Args:
        text: "local" for a process on every GPU, or on every core where there is none or the
            device is the CPU; "local:2" for two of them; "local:cuda:0,cuda:1" for these devices;
            "ray" for this machine's Ray, or the cluster that Ray's own settings name, and
            "ray://HOST:PORT" for that cluster.
        device: "auto", "cpu", "cuda" or "cuda:1", see `choose_device`.

    Returns:
        The executor, and its workers' device, as `ReconstructConfig.device` takes it.

    Raises:
        ValueError: another form, devices that are not here, or Ray is missing or not there.

    Example:
        >>> choose_executor("local:2", "cpu")[0].n_workers()
        2
    """
    from bayesnn.executors import executor_from

    named = re.fullmatch(r"local:((cpu|cuda)\b.*)", text)
    if named is not None:
        if device not in {"auto", named[2]}:
            raise ValueError(f"--executor: {text} names devices; leave --device {device} out.")
        device = named[1].partition(",")[0]
    elif text.startswith("local"):
        where = choose_device(device)
        text, device = _with_devices(text, where), str(where)
    elif text.startswith("ray"):
        if device not in {"auto", "cpu", "cuda"}:
            raise ValueError(f"--device: expected auto, cpu or cuda with Ray, got {device!r}.")
        # a cluster's machines are taken to be like this one
        device = choose_device("auto").type if device == "auto" else device
    gpus = 1 if device.startswith("cuda") and text.startswith("ray") else None
    try:
        executor = executor_from(text, gpus=gpus)
    except (ValueError, ImportError) as error:
        raise ValueError(f"--executor: {str(error).removeprefix('executor: ')}") from error
    return executor, device


def _with_devices(text: str, where: torch.device) -> str:
    """Return the words with the devices of a kind that "local" or "local:2" shall mean."""
    match = re.fullmatch(r"local(?::([1-9]\d{0,3}))?", text)
    if match is None:
        return text  # which `executor_from` refuses
    if where.type == "cpu":
        return f"local:{match[1] or len(os.sched_getaffinity(0))}"
    n_gpus = torch.cuda.device_count()
    places = [str(where)] if where.index is not None else [f"cuda:{i}" for i in range(n_gpus)]
    n_workers = int(match[1] or len(places))
    return "local:" + ",".join(places[i % len(places)] for i in range(n_workers))
