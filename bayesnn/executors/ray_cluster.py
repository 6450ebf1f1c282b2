"""A connection to Ray, and what the cluster has room for."""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from bayesnn.executors.ray_address import check_answers, nobody

_USAGE = "RAY_USAGE_STATS_ENABLED"
_TOKENS = "RAY_AUTH_MODE"  # which Ray sets where it starts a cluster
# a cluster starts a server for each client, and some fail by a race of Ray's
_TRIES = 3


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
    errors = ray.exceptions
    asks_for_token = check_answers(address)
    before = {name: os.environ.get(name) for name in (_USAGE, _TOKENS)}
    os.environ[_USAGE] = "0"
    try:
        try:
            _connect(ray, address)
        except (ConnectionError, RuntimeError, TimeoutError, ValueError, errors.RayError) as error:
            where = address or "the address that Ray looks at"
            raise nobody(where, error, asks_for_token=asks_for_token) from error
        except OSError as error:  # such as a home without a place for its token
            raise ConnectionError(f"executor: Ray cannot be started here ({error}).") from error
        yield ray
    finally:
        ray.shutdown()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _connect(ray: Any, address: str | None) -> None:
    for left in reversed(range(_TRIES)):
        try:
            with warnings.catch_warnings():  # of what is an error anyway
                warnings.filterwarnings("ignore", "Ray Client connection timed out")
                ray.init(
                    address=address, include_dashboard=False, log_to_driver=False,
                    logging_level=logging.ERROR,
                )  # fmt: skip
        except ConnectionAbortedError:
            ray.shutdown()
            if not left:
                raise
        else:
            return


def cannot_work(error: Exception) -> RuntimeError:
    """Return the error that says of a cluster's machines that they lack what work needs."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return RuntimeError(
        f"executor: a machine of the Ray cluster cannot run the work ({lines[-1].rstrip('.')}); it "
        "needs bayesnn, Python, Ray and what the work imports, in the versions that are here."
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
