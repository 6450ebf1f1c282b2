"""Two processes that fit into one folder: one wins, the other says so."""

from __future__ import annotations

from pathlib import Path

from tests.faults.children import ran, started
from tests.faults.kept_fits import bits_of_a_fit, fit_that_is_refused, fit_that_waits
from tests.faults.whole_files import assert_checkpoint_is_whole


def test_the_second_says_that_another_is_at_it_until_that_is_dead(tmp_path: Path) -> None:
    """The lock goes with a process that is killed, and what it was writing is cleared away."""
    first = started(fit_that_waits, tmp_path, (2, 5))
    assert first.said() == "there"
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    said, _ = ran(fit_that_is_refused, tmp_path)
    assert said == (
        f"checkpoint: another process is training into {tmp_path}; wait for its end, or name "
        "another folder."
    )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert first.kill()
    for name in (".half.part.safetensors", ".tmpCqhKv6"):  # ours, and safetensors' own
        (tmp_path / name).write_bytes(b"half")
    assert ran(fit_that_is_refused, tmp_path)[0] == bits_of_a_fit()
    assert [path.name for path in tmp_path.glob(".*")] == [".lock"]


def test_of_three_at_once_one_wins(tmp_path: Path) -> None:
    children = [started(fit_that_is_refused, tmp_path) for _ in range(3)]
    said = sorted(child.result() for child in children)
    bits = bits_of_a_fit()
    # one that comes after the end of another reads what that has left
    assert bits in said
    assert all(one == bits or "another process is training into" in one for one in said)
    assert assert_checkpoint_is_whole(tmp_path) == 3
