"""Kill −9 of workers that reconstruct slices: each slice is in the result once, bit for bit."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from bayesnn.executors import Executor, local_executor, ray_executor
from ct.partial_result import PartialResult
from ct.problem import Estimate, Problem, Progress
from tests.ct.workflow_runs import Walk
from tests.faults.kept_reconstructions import reconstructed, scan_of_slices


@dataclass(frozen=True)
class FatalWalk(Walk):
    """A walk that ends its process in the midst of the first slices that are begun.

    Attributes:
        folder: where it notes how often which slice was begun, and from which step.
        fatal: how many slices end their process, each when it is first tried.
    """

    folder: Path = Path()
    fatal: int = 0

    def solve(self, problem: Problem, *, seed: int, progress: Progress | None = None) -> Estimate:
        state = problem.checkpoint.part("walk").load()
        first = 0 if state is None else int(state["step"])
        note = self.folder / str(seed)
        tries = note.read_text().split() if note.exists() else []
        note.write_text(" ".join([*tries, str(first)]))

        def fatal(step: int, steps: int) -> None:
            if progress is not None:
                progress(step, steps)
            if not tries and step == steps // 2 and self._is_among_the_fatal():
                os.kill(os.getpid(), signal.SIGKILL)

        return super().solve(problem, seed=seed, progress=fatal)

    def _is_among_the_fatal(self) -> bool:
        for number in range(self.fatal):
            with suppress(FileExistsError):  # another worker's slice was quicker
                (self.folder / f"fatal-{number}").touch(exist_ok=False)
                return True
        return False


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the chunks that are put on disk."""
    chunks: list[int] = []
    write = PartialResult.write

    def noted(self: PartialResult, chunk: int, *words: object) -> None:
        chunks.append(chunk)
        write(self, chunk, *words)

    monkeypatch.setattr(PartialResult, "write", noted)
    return chunks


@pytest.fixture
def killed(request: pytest.FixtureRequest) -> Iterator[tuple[Executor, int]]:
    """An executor, and how many of its workers' deaths a test shall cause."""
    if request.param.startswith("local"):
        n_workers = int(request.param[-1])
        yield local_executor(n_workers, threads=1), {2: 1, 4: 6}[n_workers]
        return
    pytest.importorskip("ray")
    from tests.bayesnn.executors.local_ray import local_ray

    with local_ray(num_cpus=2):
        yield ray_executor(tries=4), 2


@pytest.mark.usefixtures("reconstructs_here")
@pytest.mark.parametrize(
    "killed",
    ["local-2", *(pytest.param(name, marks=pytest.mark.slow) for name in ("local-4", "ray"))],
    indirect=True,
)
def test_workers_that_are_killed_in_the_midst_of_slices_cost_no_slice_and_double_none(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    written: list[int],
    killed: tuple[Executor, int],
) -> None:
    executor, fatal = killed
    n_slices = max(4, fatal + 2)
    scan = scan_of_slices(tmp_path, n_slices=n_slices)
    bits = {}
    for name, workers, n_fatal in (("whole", None, 0), ("killed", executor, fatal)):
        (tmp_path / name).mkdir()
        walk = FatalWalk(steps=10, folder=tmp_path / name, fatal=n_fatal)
        monkeypatch.setattr("ct.workflow.choose_method", lambda *_, walk=walk: walk)
        bits[name] = reconstructed(scan, tmp_path / f"{name}.h5", executor=workers)
        assert sorted(written) == list(range(n_slices))
        written.clear()
    assert bits["whole"] == bits["killed"]
    begun = [note.read_text().split() for note in (tmp_path / "killed").glob("[0-9]*")]
    assert sorted(map(len, begun)) == [1] * (n_slices - fatal) + [2] * fatal
    # on from the state that the killed worker left
    assert any(int(one[-1]) > 0 for one in begun if len(one) > 1)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
