import math

import numpy as np
import pytest
import torch

import ct
from ct.inr.feature_grid import FeatureGrid
from ct.noise import estimate_noise_std
from ct.problem import Estimate

GRID = ct.ImageGrid(shape=(16, 16))
SCAN = ct.ParallelBeam([k * math.pi / 12 for k in range(12)], n_detectors=24)
QUICK = ct.mc_dropout(
    network=FeatureGrid(channels=2, width=4), steps=2, centre_steps=2, n_samples=3
)


def _sinogram(*slices: int) -> np.ndarray:
    return 1 + np.random.default_rng(0).normal(size=(*slices, 12, 24)) * 0.1


def _with(index: tuple[int, ...], value: float) -> np.ndarray:
    sinogram = _sinogram()
    sinogram[index] = value
    return sinogram


@pytest.mark.parametrize(
    ("sinogram", "message"),
    [
        (_with((3, 4), np.nan), r"sinogram: .*NaN.*\(3, 4\)"),
        (_with((0, 0), np.inf), "sinogram: .*infinite"),
        (_sinogram()[:-1], "expected 12 views .*24 detectors, got 11 views of 24 detectors"),
        (_sinogram().T, "expected 12 views .*got 24 views of 12 detectors"),
        (_sinogram(2)[None], "sinogram: expected 2 or 3 dimensions"),
        (np.array([["a"]]), "sinogram"),
        (_sinogram() + 1j, "sinogram"),
        (np.empty((0, 12, 24)), "sinogram: expected at least one value"),
    ],
)
def test_unfit_sinograms_are_refused_before_work_starts(sinogram, message):
    with pytest.raises(ValueError, match=message) as error:
        ct.reconstruct(sinogram, SCAN, GRID, method=_NeverSolves())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("noise_std", 0.0),
        ("noise_std", -1.0),
        ("noise_std", float("nan")),
        ("noise_std", np.ones((24, 12))),
        ("noise_std", np.zeros((12, 24))),
        ("noise_std", np.ones(12)),
        ("noise_std", np.ones((2, 12, 24))),
        ("noise_std", -np.inf),
        ("noise_std", np.inf),
        ("noise_std", np.full((12, 24), np.inf)),
        ("noise_std", "small"),
        ("device", "cuda:99"),
        ("device", "meta"),
        ("device", "abacus"),
        ("executor", "local:2"),
        ("seed", -1),
        ("first_slice", -1),
    ],
)
def test_unfit_arguments_are_refused_before_work_starts(argument, value):
    arguments = {"noise_std": 0.1, argument: value}
    with pytest.raises(ValueError, match=argument) as error:
        ct.reconstruct(_sinogram(), SCAN, GRID, method=_NeverSolves(), **arguments)
    assert "\n" not in str(error.value)


def test_a_sinogram_without_noise_needs_to_be_told_one():
    with pytest.raises(ValueError, match="noise_std"):
        ct.reconstruct(np.zeros((12, 24)), SCAN, GRID, method=ct.fbp())
    second = np.concatenate([_sinogram(1), np.zeros((1, 12, 24))])
    with pytest.raises(ValueError, match=r"slice 7: sinogram: .*pass noise_std"):
        ct.reconstruct(second, SCAN, GRID, method=ct.fbp(), first_slice=6)
    empty = ct.reconstruct(np.zeros((12, 24)), SCAN, GRID, method=QUICK, noise_std=0.1)
    assert bool(empty.mean.isfinite().all())


def test_noise_is_estimated_for_each_slice_and_said_to_be():
    sinogram = _sinogram(2) * np.array([1.0, 3.0])[:, None, None]
    result = ct.reconstruct(sinogram, SCAN, GRID, method=QUICK)
    assert result.metadata["noise_std_source"] == "estimated"
    assert result.metadata["noise_std"] == [estimate_noise_std(one) for one in sinogram]
    given = ct.reconstruct(sinogram, SCAN, GRID, method=QUICK, noise_std=np.full((12, 24), 0.5))
    assert given.metadata["noise_std_source"] == "given"
    assert given.metadata["noise_std"] == [0.5, 0.5]


def test_noise_of_single_rays_reaches_the_method():
    noise = np.linspace(0.1, 0.2, 12 * 24).reshape(12, 24)
    method = _Remembers()
    ct.reconstruct(_sinogram(), SCAN, GRID, method=method, noise_std=noise)
    ct.reconstruct(_sinogram(), SCAN, GRID, method=method, noise_std=0.3)
    assert torch.equal(method.problems[0].noise_std, torch.from_numpy(noise))
    assert torch.equal(method.problems[1].noise_std, torch.full((12, 24), 0.3, dtype=torch.float64))


def test_rays_that_are_declared_worthless_do_not_spoil_the_image():
    noise = np.full((12, 24), 0.1)
    noise[5] = 1e9
    result = ct.reconstruct(_sinogram(), SCAN, GRID, method=QUICK, noise_std=noise)
    assert float(result.mean.abs().max()) < 10


def test_missing_rays_reach_the_method_and_do_not_count_in_the_noise():
    noise = np.full((2, 12, 24), 0.1)
    noise[0, 5], noise[1, :, 3], noise[1, 0] = np.inf, np.inf, 0.2
    method = _Remembers()
    result = ct.reconstruct(_sinogram(2), SCAN, GRID, method=method, noise_std=noise)
    for problem, expected in zip(method.problems, noise, strict=True):
        assert torch.equal(problem.noise_std, torch.from_numpy(expected))
    assert result.metadata["noise_std"] == pytest.approx([
        0.1,
        (11 * 23 * 0.1 + 24 * 0.2) / (12 * 23 + 1),
    ])
    ct.reconstruct(_sinogram(2), SCAN, GRID, method=method, noise_std=noise[0])
    assert torch.equal(method.problems[3].noise_std, torch.from_numpy(noise[0]))


def test_what_stands_at_missing_rays_does_not_matter_to_a_method_with_weights():
    noise = np.full((12, 24), 0.1)
    noise[5], noise[:, 7] = np.inf, np.inf
    wild = _sinogram()
    wild[5], wild[:, 7] = 1e3, -1e3
    one, other = (
        ct.reconstruct(values, SCAN, GRID, method=_Weighted(), noise_std=noise)
        for values in (_sinogram(), wild)
    )
    assert torch.equal(one.mean, other.mean)


@pytest.mark.parametrize("n_slices", [1, 4, 5])
def test_slices_come_in_chunks_within_the_budget(monkeypatch, n_slices):
    monkeypatch.setattr("ct.slices.MEMORY_BUDGET", 2 * 14 * 8 * (16 * 16 + 12 * 24) + 1)
    sinogram, calls = _sinogram(n_slices), []
    method = _Stacked()
    result = ct.reconstruct(
        sinogram, SCAN, GRID, method=method, noise_std=np.arange(1.0, n_slices + 1)[:, None, None]
        * np.ones((12, 24)), progress=lambda done, total: calls.append((done, total)),
    )  # fmt: skip
    assert method.lengths == [2] * (n_slices // 2) + [1] * (n_slices % 2)
    means = torch.from_numpy(sinogram).mean((1, 2)) * torch.arange(1.0, n_slices + 1)
    assert torch.allclose(result.mean[:, 0, 0], means)
    assert [done / total for done, total in calls] == sorted(done / total for done, total in calls)
    assert calls[-1][0] == calls[-1][1]


def test_a_method_that_takes_less_gets_more_slices(monkeypatch):
    monkeypatch.setattr("ct.slices.MEMORY_BUDGET", 2 * 12 * 8 * (16 * 16 + 12 * 24))
    for copies, lengths in ((12, [2, 2, 2, 1]), (4, [6, 1]), (30, [1] * 7)):
        method = _Frugal()
        method.working_copies = copies
        ct.reconstruct(_sinogram(7), SCAN, GRID, method=method, noise_std=1.0)
        assert method.lengths == lengths


def test_a_budget_smaller_than_a_slice_means_one_slice_at_a_time(monkeypatch):
    monkeypatch.setattr("ct.slices.MEMORY_BUDGET", 1)
    method = _Stacked()
    ct.reconstruct(_sinogram(3), SCAN, GRID, method=method, noise_std=1.0)
    assert method.lengths == [1, 1, 1]


def test_the_projector_is_made_once_for_all_slices(monkeypatch):
    method = _Remembers()
    ct.reconstruct(_sinogram(3), SCAN, GRID, method=method, noise_std=0.1)
    assert len({id(problem.projector) for problem in method.problems}) == 1


def test_what_contradicts_the_scan_is_said_of_slices_evenly_spread(monkeypatch):
    monkeypatch.setattr("ct.slices.MOST_EXAMINED", 2)
    grid = ct.ImageGrid((48, 48))
    angles = [k * math.pi / 60 for k in range(60)]
    y, x = grid.y_positions[:, None], grid.x_positions
    disc = (((x - 9) ** 2 + (y - 4) ** 2 < 60) | ((x + 8) ** 2 + (y + 9) ** 2 < 25)).double()
    sinogram = ct.projector(grid, ct.ParallelBeam(angles, 70))(disc.expand(5, 48, 48))
    noise = torch.randn(5, 60, 70, generator=torch.Generator().manual_seed(0))
    measured = sinogram + 0.05 * noise
    shifted = ct.ParallelBeam(angles, 70, center=37.0)
    for scan, names in ((shifted, ["centre of rotation"]), (ct.ParallelBeam(angles, 70), [])):
        result = ct.reconstruct(measured, scan, grid, method=ct.fbp(), noise_std=0.05)
        found = [numbers.get("findings") for numbers in result.metadata["diagnostics"]]
        assert [one is None for one in found] == [False, True, True, False, True]
        assert [finding["name"] for finding in found[3]] == names


def test_numpy_comes_in_and_cpu_tensors_come_out():
    result = ct.reconstruct(_sinogram().astype(np.float32), SCAN, GRID, method=ct.fbp())
    assert (result.mean.device.type, result.mean.dtype) == ("cpu", torch.float32)
    assert (result.grid, result.scan) == (GRID, SCAN)


def test_metadata_say_what_was_done():
    result = ct.reconstruct(
        _sinogram(2), SCAN, GRID, method=QUICK, noise_std=0.1, seed=4, first_slice=6, units="HU"
    )
    expected = {
        "method": "mc-dropout",
        "settings": QUICK.settings(),
        "units": "HU",
        "seed": 4,
        "slices": [6, 7],
        "n_samples": 3,
        "calibration": "one scale from held-out views (1 of 12)",
    }
    assert {key: result.metadata[key] for key in expected} == expected
    assert set(result.metadata["versions"]) == {"bayesnn", "torch"}
    assert len(result.metadata["diagnostics"]) == 2


def test_samples_are_kept_within_the_budget_or_as_asked(monkeypatch):
    def keeps(**arguments) -> bool:
        result = ct.reconstruct(_sinogram(), SCAN, GRID, method=QUICK, noise_std=0.1, **arguments)
        return result.samples is not None

    assert keeps()
    assert not keeps(keep_samples=False)
    monkeypatch.setattr("ct.reconstruction.SAMPLE_BUDGET", 3 * 16 * 16 * 8 - 1)
    assert not keeps()
    assert keeps(keep_samples=True)


def test_jackknife_is_the_default(monkeypatch):
    quick = ct.jackknife(mean=ct.fbp(), n_folds=3)
    monkeypatch.setattr("ct.reconstruction.jackknife", lambda: quick)
    assert ct.reconstruct(_sinogram(), SCAN, GRID).metadata["method"] == "jackknife"


class _NeverSolves:
    name = "never"
    n_samples = None

    def settings(self):
        raise AssertionError("work started")

    def solve(self, problem, *, seed, progress=None):
        raise AssertionError("work started")


class _Remembers:
    name = "remembers"
    n_samples = None

    def __init__(self):
        self.problems = []

    def settings(self):
        return {}

    def solve(self, problem, *, seed, progress=None):
        self.problems.append(problem)
        return Estimate(mean=torch.zeros(problem.grid.shape))


class _Weighted(_Remembers):
    """One gradient step of weighted least squares."""

    def solve(self, problem, *, seed, progress=None):
        weights = problem.noise_std.square().reciprocal()
        return Estimate(mean=problem.projector.T(weights * problem.sinogram))


class _Stacked(_Remembers):
    def __init__(self):
        super().__init__()
        self.lengths = []

    def solve_slices(self, problems, *, progress=None):
        self.lengths.append(len(problems))
        if progress is not None:
            progress(1, 2)
            progress(2, 2)
        return [
            Estimate(mean=(p.sinogram * p.noise_std).mean().expand(p.grid.shape)) for p in problems
        ]


class _Frugal(_Stacked):
    working_copies = 1
