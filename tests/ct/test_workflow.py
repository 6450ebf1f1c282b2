"""File to file: what reaches the method, and what the result says of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from ct.classical.filtered_backprojection import fbp
from ct.data.measured import Measured
from ct.data.scan_input import ScanInput
from ct.posterior.mc_dropout import MCDropout
from ct.problem import Estimate, Problem, Progress, Setting
from ct.projectors.operator import projector
from ct.result import Reconstruction
from ct.run_options import choose_device, parse_slices
from ct.workflow import Interrupted, reconstruct_file
from tests.ct.workflow_runs import config, contents, fbp_config, interrupt_after


def test_a_slice_is_the_same_alone_and_in_its_stack(stack: Path, tmp_path: Path) -> None:
    reconstruct_file(config(stack, tmp_path / "all.h5"))
    summary = reconstruct_file(config(stack, tmp_path / "some.h5", slices="1:3"))
    assert summary.slices == (1, 2)
    whole, some = contents(tmp_path / "all.h5"), contents(tmp_path / "some.h5")
    for name in ("mean", "std"):
        assert some[name].shape == (2, 16, 16)
        np.testing.assert_array_equal(some[name], whole[name][1:3])
    assert not np.array_equal(whole["std"][0], whole["std"][1])


@pytest.mark.parametrize("n_slices", [3, 7])
def test_chunks_of_slices_give_what_single_slices_give(
    long_stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_slices: int
) -> None:
    budget = n_slices * 12 * 4 * (32 * 32 + 60 * 47)
    monkeypatch.setattr("ct.slices.MEMORY_BUDGET", budget)
    monkeypatch.setattr("ct.workflow.choose_method", lambda *_: _StackedFBP())
    output = tmp_path / "rec.h5"
    with pytest.raises(Interrupted, match=f"{2 * n_slices} of 40 slices are kept"):
        reconstruct_file(fbp_config(long_stack, output), progress=interrupt_after(2 * n_slices, 40))
    assert reconstruct_file(fbp_config(long_stack, output, resume=True)).resumed == 2 * n_slices
    whole = contents(long_stack.with_name("whole.h5"))
    np.testing.assert_allclose(contents(output)["mean"], whole["mean"], rtol=1e-5, atol=1e-5)
    assert Reconstruction.load(output).metadata["slices"] == list(range(40))


def test_the_projector_is_made_once(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setattr(
        "ct.workflow.projector", lambda *where: made.append(where) or projector(*where)
    )
    reconstruct_file(config(stack, tmp_path / "rec.h5"))
    assert len(made) == 1


def test_noise_and_missing_rays_of_the_scan_reach_the_method(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, noises = ScanInput.read, []
    solve = MCDropout.solve
    known = np.full((12, 24), 0.5, dtype=np.float32)
    known[:, 3] = np.inf

    def with_noise(scan: ScanInput, index: int) -> Measured:
        return dataclasses.replace(read(scan, index), noise_std=known, n_missing=12)

    def remembered(method: MCDropout, problem: Problem, **how: object) -> Estimate:
        noises.append(problem.noise_std.numpy())
        return solve(method, problem, **how)

    monkeypatch.setattr(ScanInput, "read", with_noise)
    monkeypatch.setattr(MCDropout, "solve", remembered)
    for given, source in ((None, "measured"), (2.0, "given")):
        output = tmp_path / f"{source}.h5"
        summary = reconstruct_file(config(stack, output, slices="0:1", noise_std=given))
        expected = np.where(np.isinf(known), known, known if given is None else 2.0)
        np.testing.assert_array_equal(noises[-1], expected)
        metadata = Reconstruction.load(output).metadata
        assert metadata["noise_std_source"] == source
        assert metadata["noise_std"] == [given or 0.5]
        assert (summary.noise.median, summary.noise.source) == (given or 0.5, source)
        assert summary.missing_rays == 12


def test_a_simulated_files_noise_is_not_used_unasked(stack: Path, tmp_path: Path) -> None:
    with h5py.File(stack) as file:
        true_noise = float(file.attrs["noise_std"][0])
    reconstruct_file(config(stack, tmp_path / "a.h5", slices="0:1"))
    reconstruct_file(config(stack, tmp_path / "b.h5", slices="0:1", noise_std=true_noise))
    a, b = contents(tmp_path / "a.h5"), contents(tmp_path / "b.h5")
    assert not np.array_equal(a["mean"], b["mean"])


@pytest.mark.parametrize(
    ("text", "n", "expected"),
    [(None, 3, [0, 1, 2]), ("1:3", 3, [1, 2]), (":1", 3, [0]), ("2:", 3, [2]), (":", 2, [0, 1])],
)
def test_slices(text: str | None, n: int, expected: list[int]) -> None:
    assert parse_slices(text, n) == expected


@pytest.mark.parametrize("text", ["2:2", "0:4", "3:", "1", "a:b", "-1:2", "0:2:1"])
def test_slices_that_are_not_there(text: str) -> None:
    with pytest.raises(ValueError, match="--slices: expected a:b"):
        parse_slices(text, 3)


def test_devices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("gpu", "meta", "cuda:99"):
        with pytest.raises(ValueError, match="--device"):
            choose_device(name)


def test_progress_grows_to_one(stack: Path, tmp_path: Path) -> None:
    calls: list[tuple[float, float]] = []
    reconstruct_file(
        config(stack, tmp_path / "rec.h5"), progress=lambda done, n: calls.append((done, n))
    )
    assert calls == sorted(calls)
    assert calls[0] == (0, 4)
    assert calls[-1] == pytest.approx((4, 4))


class _StackedFBP:
    name = "fbp"
    n_samples = None

    def settings(self) -> dict[str, Setting]:
        return {}

    def solve(self, problem: Problem, *, seed: int, progress: Progress | None = None) -> Estimate:
        return fbp().solve(problem, seed=seed, progress=progress)

    def solve_slices(
        self, problems: Sequence[Problem], *, progress: Progress | None = None
    ) -> list[Estimate]:
        return [self.solve(problem, seed=0, progress=progress) for problem in problems]
