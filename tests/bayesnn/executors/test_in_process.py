"""The serial executor: what the others are compared with."""

from __future__ import annotations

from contextlib import closing

import pytest

from bayesnn.executors import Executor, serial_executor
from tests.bayesnn.executors.jobs import counting, failing, scaled_square, where


def test_results_come_in_order_with_their_numbers() -> None:
    results = list(serial_executor().run(scaled_square, [3, 1, 2], shared=10))
    assert results == [(0, 90), (1, 10), (2, 40)]


def test_is_an_executor_of_one_worker() -> None:
    executor = serial_executor()
    assert isinstance(executor, Executor)
    assert executor.n_workers() == 1


def test_what_work_says_is_heard_and_may_stop_its_item_alone() -> None:
    said = []

    def heard(number: int, message: object) -> bool:
        said.append((number, message))
        return message == (7, 2)

    results = dict(serial_executor().run(counting, [7, 8], shared=3, heard=heard))
    assert results == {0: 2, 1: 3}
    assert said == [(0, (7, 1)), (0, (7, 2)), (1, (8, 1)), (1, (8, 2)), (1, (8, 3))]


def test_an_exception_of_the_work_is_the_callers() -> None:
    with closing(serial_executor().run(failing, [1, 2, 3], shared=None)) as results:
        assert next(results) == (0, 1)
        with pytest.raises(ValueError, match="item 2: expected another"):
            next(results)


def test_work_is_told_its_device() -> None:
    [(_, (device, _))] = serial_executor("cpu").run(where, [0], shared=None)
    assert device == "cpu"
