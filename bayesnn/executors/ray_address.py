"""Whether Ray answers at an address, asked by one message: Ray itself would ask for minutes."""

from __future__ import annotations

import importlib.util
import os
import re
import socket
from pathlib import Path
from typing import Any

_ANSWER = 20.0  # seconds in which a machine has to answer
_CLIENTS, _HEAD = "/ray.rpc.RayletDriver/ClusterInfo", "/ray.rpc.NodeInfoGcsService/GetClusterId"


def check_answers(address: str | None) -> bool:
    """Raise ConnectionError where no Ray answers, or another of its ports, or none without a token.

    Where something else listens Ray would try again for half a minute or, at a head's port, without
    an end and deaf to Ctrl-C.

    Args:
        address: `ray://HOST:PORT` or `HOST:PORT`; None for RAY_ADDRESS, or the head that `ray
            start` began here. Of other words Ray is left to say what they mean.

    Returns:
        Whether a Ray answers that asks for a token, where there is one to send.

    Raises:
        ConnectionError: nobody answers in 20 s, or somebody else.
    """
    named = address or os.environ.get("RAY_ADDRESS") or ""
    address = named or _begun_here()
    match = re.fullmatch(r"(ray://)?(\[[^\]/]+\]|[^/:\[\]]+):(\d+)", address)
    if match is None:
        return False
    host = match[2].strip("[]")
    try:
        socket.create_connection((host, int(match[3])), timeout=_ANSWER).close()
    except (OSError, OverflowError) as error:
        if named:
            raise nobody(address, error) from error
        raise ConnectionError(
            f"executor: the Ray that `ray start` began at {address} is gone ({error}); forget it "
            "by `ray stop`, or start it again."
        ) from error
    # of the token of a head that was begun here Ray knows
    encrypted = os.environ.get("RAY_USE_TLS", "0").lower() in {"1", "true"}
    if not named or encrypted or importlib.util.find_spec("grpc") is None:
        return False
    return _asks_for_token(address, f"{match[2]}:{match[3]}", of_clients=match[1] is not None)


def _begun_here() -> str:
    """Return the address that `ray start` left here, where Ray looks for it, or nothing."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"  # as Ray has it
    try:
        return (Path(folder) / "ray" / "ray_current_cluster").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def nobody(address: str, error: Exception, *, asks_for_token: bool = False) -> ConnectionError:
    """Return the error that says that no Ray answers."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    why = lines[-1 if lines[0].endswith(":") else 0].partition(". ")[0].rstrip(".")
    remedy = "start it with `ray start --head`, or name another address."
    if asks_for_token:
        remedy = (
            "it asks for a token: is that in ~/.ray/auth_token or RAY_AUTH_TOKEN the cluster's?"
        )
    return ConnectionError(f"executor: no Ray answers at {address} ({why}); {remedy}")


def _asks_for_token(address: str, target: str, *, of_clients: bool) -> bool:
    """Send what Ray's own clients send first, and raise where the answer is not Ray's.

    Returns:
        Whether the answer is that a token is missing, which Ray will send.
    """
    import grpc
    from ray.core.generated import ray_client_pb2

    messages: Any = ray_client_pb2  # their names are made when it is imported
    ping = messages.ClusterInfoRequest(type=messages.ClusterInfoType.PING)
    method, message = (_CLIENTS, ping.SerializeToString()) if of_clients else (_HEAD, b"")
    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(method)(message, timeout=_ANSWER)
        except grpc.RpcError as error:
            code, said = error.code(), error.details()
        else:
            return False
    if code == grpc.StatusCode.UNAUTHENTICATED:
        if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":  # else Ray sends its own
            raise ConnectionError(
                f"executor: the Ray at {address} asks for a token; set RAY_AUTH_MODE=token, with "
                "the cluster's token in ~/.ray/auth_token or RAY_AUTH_TOKEN."
            )
        return True
    if code == grpc.StatusCode.UNIMPLEMENTED:
        raise ConnectionError(
            f"executor: what answers at {address} is not Ray's port for clients (of `ray start "
            "--ray-client-server-port`, 10001 by default)."
            if of_clients
            else f"executor: what answers at {address} is not the port of a Ray head (of `ray "
            "start --port`, 6379 by default); the port for clients is written ray://HOST:PORT."
        )
    if code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
        raise nobody(address, ConnectionError(said or code.name))
    return False
