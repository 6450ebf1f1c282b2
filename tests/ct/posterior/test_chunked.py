import warnings

import pytest
import torch

from ct import slices
from ct.posterior.chunked import at_once, in_chunks, memory_budget, peak_bytes
from ensembles.memory import MALLOC


@pytest.mark.parametrize("n", [1, 5, 12])
@pytest.mark.parametrize("at_once", [0, 1, 3, 100])
def test_everything_is_done_once_and_in_order(n, at_once):
    chunks = in_chunks(list, n=n, at_once=at_once, what="members")
    assert [one for part in chunks.results for one in part] == list(range(n))
    sizes = [len(part) for part in chunks.results]
    assert max(sizes) <= max(1, at_once)
    assert max(sizes) - min(sizes) <= len(sizes)


def test_without_memory_chunks_get_smaller_and_it_is_said_once():
    tried: list[int] = []

    def work(numbers: range) -> list[int]:
        tried.append(len(numbers))
        if len(numbers) > 2:
            raise torch.OutOfMemoryError
        return list(numbers)

    with pytest.warns(RuntimeWarning, match="10 members at once do not fit") as said:
        chunks = in_chunks(work, n=10, at_once=10, what="members")
    assert len(said) == 1
    assert tried[:3] == [10, 5, 2]
    assert [one for part in chunks.results for one in part] == list(range(10))
    assert chunks.at_once == 2


def test_what_does_not_fit_alone_is_an_error():
    def work(_: range) -> None:
        raise torch.OutOfMemoryError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(torch.OutOfMemoryError):
            in_chunks(work, n=4, at_once=4, what="members")


def test_the_budget_is_that_of_slices(monkeypatch):
    monkeypatch.setattr(slices, "MEMORY_BUDGET", 1234)
    assert memory_budget(torch.device("cpu")) == 1234
    assert at_once(100, torch.device("cpu"), None, what="fit") == 12


def test_a_budget_that_was_given_is_of_the_process():
    assert at_once(100, torch.device("cpu"), 1234, what="fit") == int(1234 / MALLOC) // 100
    assert at_once(100, torch.device("cuda"), 1234, what="fit") == 12


def test_one_that_takes_more_is_alone_and_says_so():
    with pytest.warns(RuntimeWarning, match="a fit, which alone may take 400 B, got 9 B"):
        assert at_once(100, torch.device("cpu"), 9, what="fit") == 1


def test_peak_memory_counts_what_lives_at_once_and_what_gradients_keep():
    x = torch.ones(1000, requires_grad=True)

    def one_after_the_other() -> None:
        for _ in range(5):
            torch.zeros(1000)

    assert peak_bytes(one_after_the_other) == 4000
    # sin and exp keep their inputs for the way back
    assert peak_bytes(lambda: x.sin().exp().sum().backward()) >= 8000
