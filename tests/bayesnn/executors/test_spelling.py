"""Executors as words of a command line."""

from __future__ import annotations

import pytest

from bayesnn.executors import executor_from, local_executor, ray_executor, serial_executor


def test_words_name_executors() -> None:
    assert executor_from("serial") == serial_executor()
    assert executor_from("local") == local_executor()
    assert executor_from("local:3") == local_executor(3)
    assert executor_from("local:cpu,cpu") == local_executor(["cpu", "cpu"])
    assert executor_from("ray") == ray_executor()
    assert executor_from("ray://head:10001", gpus=1) == ray_executor("ray://head:10001", gpus=1)
    assert executor_from("ray:10.0.0.1:6379") == ray_executor("10.0.0.1:6379")


@pytest.mark.parametrize(
    "text",
    [
        "", "dask", "local:", "local:0", "local:-1", "local:1.5", "local: 2", "local:2,3",
        "local:100000", "ray:", "ray://", "ray://head", "ray://a b:1", "Ray",
    ],
)  # fmt: skip
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"executor: expected .* got"):
        executor_from(text)


def test_devices_that_are_not_here_are_refused() -> None:
    with pytest.raises(ValueError, match="cuda:77 is not here"):
        executor_from("local:cuda:77")
