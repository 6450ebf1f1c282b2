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
from ct.data.phantoms import shepp_logan
from ct.data.scan_input import ScanInput
from ct.data.simulation import SimulateConfig, simulate_file
from ct.figure import Panel
from ct.geometry import ImageGrid
from ct.posterior.mc_dropout import MCDropout
from ct.problem import Estimate, Problem, Progress, Setting
from ct.projectors.operator import projector
from ct.result import Reconstruction
from ct.workflow import Interrupted, reconstruct_file
from tests.ct.workflow_runs import Walk, config, contents, fbp_config, interrupt_after


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
    budget = n_slices * 14 * 4 * (32 * 32 + 60 * 47)
    monkeypatch.setattr("ct.workflow.choose_method", lambda *_: _StackedFBP())
    output = tmp_path / "rec.h5"
    with pytest.raises(Interrupted, match=f"{2 * n_slices} of 40 slices are kept"):
        reconstruct_file(
            fbp_config(long_stack, output, memory_budget=budget),
            progress=interrupt_after(2 * n_slices, 40),
        )
    resumed = reconstruct_file(
        fbp_config(long_stack, output, memory_budget=budget, resume=True)
    ).resumed
    assert resumed == 2 * n_slices
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


@pytest.mark.parametrize("keep", [True, False])
def test_samples_are_kept_as_asked(
    stack: Path, tmp_path: Path, keep: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the other way round than unasked
    monkeypatch.setattr("ct.workflow.SAMPLE_BUDGET", 0 if keep else 2**30)
    monkeypatch.setattr("ct.workflow.choose_method", lambda *_: Walk(steps=1))
    reconstruct_file(config(stack, tmp_path / "rec.h5", samples=keep))
    assert ("samples" in contents(tmp_path / "rec.h5")) == keep


def test_methods_without_samples_cannot_keep_them(stack: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--samples: fbp has no samples"):
        reconstruct_file(fbp_config(stack, tmp_path / "rec.h5", samples=True))


def test_a_noise_that_the_rays_contradict_is_said_with_the_estimate(tmp_path: Path) -> None:
    grid = ImageGrid((32, 32))
    np.save(tmp_path / "image.npy", shepp_logan(grid).image(grid).numpy())
    scan = tmp_path / "sino.h5"
    simulate_file(SimulateConfig(image=tmp_path / "image.npy", output=scan, views=30, snr_db=30.0))
    with h5py.File(scan) as file:
        true = float(file.attrs["noise_std"][0])
    for given in (None, true, 1.8 * true, true / 1.8):
        summary = reconstruct_file(fbp_config(scan, tmp_path / "a.h5", noise_std=given))
        assert summary.warnings == ()
    for factor, bars in ((10.0, "wide, unless"), (0.1, "narrow, unless")):
        said = reconstruct_file(fbp_config(scan, tmp_path / "b.h5", noise_std=factor * true))
        (warning,) = said.warnings
        assert f"noise_std of {factor * true:.3g} was given" in warning
        assert f"too {bars}" in warning
        (one,) = Reconstruction.load(tmp_path / "b.h5").metadata["diagnostics"]
        assert one["findings"][0]["name"] == "noise"
        assert one["findings"][0]["size"] == pytest.approx(1 / factor, rel=0.3)
    with pytest.raises(ValueError, match=r"--noise-std: expected the noise of a ray .* got 1e"):
        reconstruct_file(fbp_config(scan, tmp_path / "c.h5", noise_std=1e5))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_memory_that_runs_out_is_one_line_with_remedies(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: object, **__: object) -> Estimate:
        raise error

    monkeypatch.setattr(MCDropout, "solve", full)
    with pytest.raises(
        ValueError, match=r"cpu: out of memory; say a smaller --memory-budget .*nothing is kept"
    ):
        reconstruct_file(config(stack, tmp_path / "rec.h5"))
    assert list(tmp_path.iterdir()) == []


def test_other_errors_of_a_method_stay_what_they_are(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> Estimate:
        raise RuntimeError("a bug")

    monkeypatch.setattr(MCDropout, "solve", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        reconstruct_file(config(stack, tmp_path / "rec.h5"))


@pytest.mark.parametrize("in_hounsfield", [False, True])
def test_a_picture_of_every_slice_shows_what_the_image_leaves_of_the_rays(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_hounsfield: bool
) -> None:
    drawn: dict[str, list[Panel]] = {}
    monkeypatch.setattr(
        "ct.slice_figure.save_figure", lambda path, panels: drawn.setdefault(path.name, panels)
    )
    output = tmp_path / "rec.h5"
    reconstruct_file(
        config(
            stack,
            output,
            slices="1:3",
            figures=tmp_path / "pictures",
            figure=tmp_path / "middle.png",
            mu_water=0.5 if in_hounsfield else None,
        )
    )
    assert sorted(drawn) == ["middle.png", "slice-0001.png", "slice-0002.png"]
    assert (tmp_path / "pictures").is_dir()
    result = Reconstruction.load(output)
    mean = result.mean[0] / 1000 * 0.5 + 0.5 if in_hounsfield else result.mean[0]
    with h5py.File(stack) as file:
        sinogram = torch.from_numpy(file["sinogram"][1])
    left = (sinogram - projector(result.grid, result.scan)(mean)) / result.metadata["noise_std"][0]
    panels = drawn["slice-0001.png"]
    np.testing.assert_allclose(panels[2].values, left.numpy(), atol=0.02)
    np.testing.assert_allclose(panels[1].values, result.mean[0].numpy())
    np.testing.assert_allclose(panels[3].values, result.std[0].numpy())


def test_a_folder_of_pictures_that_cannot_be_made_is_refused_first(
    stack: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "none" / "deeper"):
        with pytest.raises(ValueError, match="--figures: expected a folder"):
            reconstruct_file(fbp_config(stack, tmp_path / "rec.h5", figures=folder))
    assert not (tmp_path / "rec.h5").exists()
