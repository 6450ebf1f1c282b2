"""A connection to Ray, and what the cluster has room for."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

_USAGE = "RAY_USAGE_STATS_ENABLED"
_ANSWER = 20.0  # seconds in which a machine has to answer


def check_installed() -> None:
    """Raise ImportError unless Ray is installed; importing it takes a second."""
    if importlib.util.find_spec("ray") is None:
        raise ImportError(
            "Ray is not installed: pip install 'bayesnn[distributed]', or use local devices."
        )


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """Connect to Ray, and leave it as it was found.

    A connection that the process has already is used, and kept. Otherwise Ray looks where
    `ray.init` says: at `address`, or RAY_ADDRESS, or a cluster that runs on this machine; where
    there is none it starts one here, without a dashboard, which ends with the block. It sends
    nothing about its use to anyone.

    Args:
        address: `ray://HOST:PORT`, `HOST:PORT`, "local" for a new one here, or None.

    Yields:
        The module `ray`.

    Raises:
        ImportError: Ray is not installed.
        ConnectionError: there is no Ray at the address.
    """
    check_installed()
    import ray

    if ray.is_initialized():
        yield ray
        return
    _check_answers(address)
    before = os.environ.get(_USAGE)
    os.environ[_USAGE] = "0"
    try:
        try:
            ray.init(
                address=address, include_dashboard=False, log_to_driver=False,
                logging_level=logging.ERROR,
            )  # fmt: skip
        except (ConnectionError, TimeoutError, ValueError) as error:
            raise _nobody(address or "the address that Ray looks at", error) from error
        yield ray
    finally:
        ray.shutdown()
        if before is None:
            os.environ.pop(_USAGE, None)
        else:
            os.environ[_USAGE] = before


def _check_answers(address: str | None) -> None:
    """Raise ConnectionError where nobody listens: Ray would try for minutes."""
    match = re.fullmatch(r"(?:ray://)?([^/:]+):(\d+)", address or "")
    if match is None:
        return
    try:
        socket.create_connection((match[1], int(match[2])), timeout=_ANSWER).close()
    except OSError as error:
        raise _nobody(match[0], error) from error


def _nobody(address: str, error: Exception) -> ConnectionError:
    return ConnectionError(
        f"executor: no Ray answers at {address} ({str(error).splitlines()[0]}); start it with "
        "`ray start --head`, or name another address."
    )


def room(ray: Any, asked: Mapping[str, float]) -> int:
    """Return how many tasks fit the cluster as it is now; 0 where no node is large enough.

    Args:
        ray: the module, connected.
        asked: what a task needs of each resource, as Ray names them.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    needed = {name: amount for name, amount in asked.items() if amount > 0}
    return sum(
        min(int(node.get(name, 0.0) / amount + 1e-9) for name, amount in needed.items())
        for node in nodes
    )
