"""What listens at an address and is no Ray is told from Ray at once, whatever it is."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from bayesnn.executors.ray_address import check_answers
from bayesnn.executors.ray_cluster import connected


@contextmanager
def grpc_server(code: grpc.StatusCode | None = None) -> Iterator[int]:
    """Yield the port of a server that knows no method, or answers all in one way."""

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: Any) -> Any:
            def answer(message: bytes, context: Any) -> bytes:
                if code is not None and code != grpc.StatusCode.OK:
                    context.abort(code, "no")
                return b""

            return None if code is None else grpc.unary_unary_rpc_method_handler(answer)

    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool, handlers=[Handler()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield port
        finally:
            server.stop(None).wait()


@pytest.mark.parametrize(
    ("kind", "message"),
    [("ray://", "is not Ray's port for clients"), ("", "is not the port of a Ray head")],
)
def test_another_of_rays_ports_is_named(kind: str, message: str) -> None:
    with grpc_server() as port, pytest.raises(ConnectionError, match=message):
        check_answers(f"{kind}127.0.0.1:{port}")


@pytest.mark.parametrize("kind", ["ray://", ""])
def test_a_ray_that_asks_for_a_token_says_how_to_give_it(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with grpc_server(grpc.StatusCode.UNAUTHENTICATED) as port:
        with pytest.raises(ConnectionError, match="asks for a token; set RAY_AUTH_MODE=token"):
            check_answers(f"{kind}127.0.0.1:{port}")
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        assert check_answers(f"{kind}127.0.0.1:{port}")  # Ray sends it


@pytest.mark.parametrize("kind", ["ray://", ""])
def test_a_ray_is_let_pass(kind: str) -> None:
    with grpc_server(grpc.StatusCode.OK) as port:
        assert not check_answers(f"{kind}127.0.0.1:{port}")


@pytest.mark.parametrize("kind", ["ray://", ""])
@pytest.mark.parametrize("answer", [b"HTTP/1.0 200 OK\r\n\r\nhello", b""])
def test_what_is_no_ray_at_all_is_refused_at_once(kind: str, answer: bytes) -> None:
    def serve() -> None:
        for _ in range(2):  # one looks whether anybody listens, the other asks
            connection, _address = listener.accept()
            with connection:
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20.0)
        thread = threading.Thread(target=serve)
        thread.start()
        address = f"{kind}127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(ConnectionError, match=f"no Ray answers at {address}"):
            check_answers(address)
        thread.join()


def test_the_address_of_rays_own_variable_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://[::1]:1")
    with pytest.raises(ConnectionError, match=r"no Ray answers at ray://\[::1\]:1 "):
        check_answers(None)


def test_a_head_that_was_killed_is_named_with_what_forgets_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Ray itself asks for it for more than two minutes."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:1")
    with pytest.raises(ConnectionError, match=r"began at 127.0.0.1:1 is gone .*`ray stop`"):
        check_answers(None)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with grpc_server(grpc.StatusCode.UNAUTHENTICATED) as port:
        (tmp_path / "ray" / "ray_current_cluster").write_text(f"127.0.0.1:{port}")
        assert not check_answers(None)  # of a head's token here Ray knows


@pytest.mark.parametrize("address", [None, "auto", "local", "", "nonsense"])
def test_other_words_are_rays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str | None
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert not check_answers(address)


@pytest.mark.parametrize("n_failures", [2, 3])
def test_a_cluster_whose_server_for_a_client_fails_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, n_failures: int
) -> None:
    """It does so one time in ten: its process is forked while threads call into gRPC."""
    failures = ["Initialization failure from server:\nTraceback\nRuntimeError: no server."]
    failures *= n_failures

    def init(**_: object) -> None:
        if failures:
            raise ConnectionAbortedError(failures.pop())

    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", init)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    if n_failures == 2:
        with connected("auto"):
            assert not failures
    else:
        message = r"no Ray answers at auto \(RuntimeError: no server\); start it"
        with pytest.raises(ConnectionError, match=message), connected("auto"):
            pass


def test_a_token_that_is_missing_here_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.exceptions import AuthenticationError

    def init(**_: object) -> None:
        raise AuthenticationError("No token. Generate one.\nOr two.")

    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", init)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with (
        grpc_server(grpc.StatusCode.UNAUTHENTICATED) as port,
        pytest.raises(ConnectionError, match=r"\(No token\); it asks for a token"),
        connected(f"127.0.0.1:{port}"),
    ):
        pass


def test_a_home_without_room_for_rays_token_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: object) -> None:
        raise PermissionError(13, "Permission denied", "/home/me/.ray")

    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", init)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    with (
        pytest.raises(ConnectionError, match=r"cannot be started here .*denied: '/home/me/.ray'"),
        connected("local"),
    ):
        pass


def test_rays_variables_are_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: object) -> None:
        os.environ["RAY_AUTH_MODE"] = "token"  # as Ray does where it starts a cluster

    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", init)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    with connected("local"):
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert "RAY_AUTH_MODE" not in os.environ
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "1"
