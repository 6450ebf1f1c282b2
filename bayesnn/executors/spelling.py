"""Executors as words of a command line."""

from __future__ import annotations

import re

from bayesnn.executors.in_process import serial_executor
from bayesnn.executors.local import local_executor
from bayesnn.executors.on_ray import ray_executor
from bayesnn.executors.protocol import Executor

_WAYS = (
    '"serial", "local", "local:2" (processes), "local:cuda:0,cuda:1" (devices), "ray", '
    '"ray://HOST:PORT" or "ray:HOST:PORT"'
)


def executor_from(text: str, *, gpus: float | None = None, silence: float = 600.0) -> Executor:
    """Return the executor that a few letters name.

    Args:
        text: one of "serial", "local", "local:2" (processes that share the cores),
            "local:cuda:0,cuda:1" (devices), "ray" (where `ray.init()` would go), "ray://HOST:PORT"
            (Ray's client port) or "ray:HOST:PORT" (a cluster that this machine belongs to).
        gpus: of each task on Ray.
        silence: seconds without a report after which a worker is taken to hang.

    Returns:
        The executor.

    Raises:
        ValueError: another text, or devices that are not here.
        ImportError: Ray is asked for and not installed.

    Example:
        >>> executor_from("local:2").n_workers()
        2
    """
    if text == "serial":
        return serial_executor()
    kind, _, rest = text.partition(":")
    if kind == "local":
        if re.fullmatch(r"[1-9]\d{0,3}", rest):
            return local_executor(int(rest), silence=silence)
        if text == "local" or re.match("[a-z]", rest):
            return local_executor(rest.split(",") if rest else None, silence=silence)
    if text == "ray":
        return ray_executor(gpus=gpus, silence=silence)
    if kind == "ray" and re.fullmatch(r"//[^/\s]+:\d+", rest):
        return ray_executor(text, gpus=gpus, silence=silence)
    if kind == "ray" and re.fullmatch(r"[^/\s]+:\d+", rest):
        return ray_executor(rest, gpus=gpus, silence=silence)
    raise ValueError(f"executor: expected {_WAYS}, got {text!r}.")
