import dataclasses
import math
from collections.abc import Sequence

import pytest
import torch

import ct
from ct.posterior.jackknife import FreezableMethod, jackknife
from ct.problem import Estimate, Problem, Progress, Setting
from ct.score_regions import score_regions
from tests.ct.posterior.memory_checkpoint import InterruptionError, MemoryCheckpoint

GRID = ct.ImageGrid(shape=(64, 64))
SCAN = ct.ParallelBeam([k * math.pi / 24 for k in range(24)], n_detectors=92)
NOISE = 0.25
MEAN = ct.tv(weight=6.0, tolerance=0.03, max_iterations=50)


def _truth(seed: int) -> torch.Tensor:
    """Return ellipses with texture that 24 views do not show."""
    generator = torch.Generator().manual_seed(seed)
    x, y = GRID.x_positions, GRID.y_positions[:, None]
    image = ((x / 27) ** 2 + (y / 23) ** 2 < 1).double()
    for _ in range(7):
        u, v, a, b, h = torch.rand(5, generator=generator, dtype=torch.float64).tolist()
        inside = ((x - 30 * (u - 0.5)) / (2 + 6 * a)) ** 2 + (
            (y - 30 * (v - 0.5)) / (2 + 6 * b)
        ) ** 2 < 1
        image += (h - 0.3) * inside * (image > 0)
    k = torch.hypot(torch.fft.fftfreq(64)[:, None], torch.fft.rfftfreq(64)).double()
    white = torch.randn(64, 64, generator=generator, dtype=torch.float64)
    texture = torch.fft.irfft2(torch.fft.rfft2(white) * torch.exp(-k / 0.2), s=(64, 64))
    return image + 0.06 * (image > 0) * texture / texture.std()


def _sinogram(truth: torch.Tensor, scan: ct.ParallelBeam = SCAN, seed: int = 0) -> torch.Tensor:
    clean = ct.projector(GRID, scan)(truth)
    generator = torch.Generator().manual_seed(seed)
    return clean + NOISE * torch.randn(clean.shape, generator=generator, dtype=torch.float64)


@pytest.fixture(scope="module")
def scenes() -> list[tuple[torch.Tensor, ct.Reconstruction]]:
    truths = [_truth(seed) for seed in range(2)]
    return [
        (
            truth,
            ct.reconstruct(
                _sinogram(truth, seed=7 + k), SCAN, GRID, method=jackknife(mean=MEAN),
                noise_std=NOISE, keep_samples=True,
            ),
        )
        for k, truth in enumerate(truths)
    ]  # fmt: skip


def test_intervals_cover_the_truth_inside_the_body_and_near_edges(scenes):
    covered: dict[str, list[list[float]]] = {"body": [], "edges": []}
    for truth, result in scenes:
        regions = score_regions(truth)
        for name, shares in covered.items():
            inside = regions[name]
            shares.append([
                float(((low <= truth) & (truth <= high))[inside].double().mean())
                for low, high in (result.interval(level) for level in (0.5, 0.95))
            ])
    half, most = torch.tensor(covered["body"]).mean(0).tolist()
    assert 0.47 < half < 0.6  # 0.44 without the detail that is missing
    assert 0.93 < most < 0.985
    half, most = torch.tensor(covered["edges"]).mean(0).tolist()
    assert 0.40 < half < 0.64
    assert 0.90 < most < 0.99


def test_the_folds_spread_alone_would_be_too_narrow_and_a_constant_width_less_likely(scenes):
    for truth, result in scenes:
        error = result.mean - truth
        inside = score_regions(truth)["body"]
        ratio = (error[inside].square().mean() / result.std[inside].square().mean()).sqrt()
        assert 0.7 < float(ratio) < 1.35

        def nll(std: torch.Tensor, error: torch.Tensor = error) -> float:
            return float((std.log() + 0.5 * (error / std).square()).mean())

        constant = result.std.square().mean().sqrt().expand_as(error)
        assert nll(result.std) < nll(constant) - 0.1


def test_means_of_discs_lie_in_their_intervals(scenes):
    x, y = GRID.x_positions, GRID.y_positions[:, None]
    inside, scores = [], []
    for truth, result in scenes:
        for u in range(-16, 17, 8):
            for v in range(-12, 13, 8):
                disc = (x - u) ** 2 + (y - v) ** 2 <= 9
                region = result.region(disc)
                low, high = region.interval(0.95)
                inside.append(bool(low <= truth[disc].mean() <= high))
                scores.append((region.mean - truth[disc].mean()) / region.std)
    assert sum(inside) / len(inside) > 0.85
    # 0.3 if errors were as correlated as a jackknife's
    assert 0.4 < float(torch.stack(scores).square().mean().sqrt()) < 1.2
    assert region.std < 0.6 * result.std[disc].mean()  # errors of single pixels even out


def test_the_result_says_what_the_held_out_rays_said(scenes, tmp_path):
    _, result = scenes[0]
    assert result.metadata["calibration"] == (
        "views held out in 10 folds, and a simulated scan of the image"
    )
    (coverage,) = result.metadata["held_out_coverage"]
    assert coverage["0.5"] == pytest.approx(0.5, abs=0.06)
    assert coverage["0.95"] == pytest.approx(0.95, abs=0.03)
    (widths,) = result.metadata["half_widths"]
    assert widths["0.5"] < widths["0.9"] < widths["0.95"]
    low, high = result.interval(0.9)
    assert torch.allclose((high - low) / 2, widths["0.9"] * result.std)
    result.save(tmp_path / "rec.h5")
    again = ct.Reconstruction.load(tmp_path / "rec.h5")
    assert again.metadata == result.metadata
    assert torch.equal(again.interval(0.7)[0], result.interval(0.7)[0])


def test_slices_of_a_stack_have_half_widths_of_their_own(scenes):
    singles = [result for _, result in scenes]
    stack = ct.Reconstruction.stack(singles)
    assert len({one["0.5"] for one in stack.metadata["half_widths"]}) == 2
    for index, single in enumerate(singles):
        assert torch.equal(stack.interval(0.5)[1][index], single.interval(0.5)[1])
        assert torch.equal(stack.single(index).interval(0.5)[1], single.interval(0.5)[1])


def test_more_noise_widens(scenes):
    truth, result = scenes[0]
    generator = torch.Generator().manual_seed(3)
    more = 3 * NOISE * torch.randn(24, 92, generator=generator, dtype=torch.float64)
    noisy = ct.reconstruct(
        _sinogram(truth) + more, SCAN, GRID, noise_std=10**0.5 * NOISE,
        method=jackknife(mean=dataclasses.replace(MEAN, weight=2.0), n_folds=3),
    )  # fmt: skip
    assert float(noisy.std.mean()) > 1.2 * float(result.std.mean())


def test_too_few_views_are_refused():
    scan = ct.ParallelBeam([0.0, 1.0], n_detectors=92)
    with pytest.raises(ValueError, match="2 views are too few to hold any out"):
        ct.reconstruct(torch.rand(2, 92), scan, GRID, method=jackknife(mean=MEAN), noise_std=1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Recorded:
    """Back-projections; `seen` keeps what was asked for, `broken` folds give no numbers."""

    seen: list[tuple[str, int, int]]
    broken: tuple[int, ...] = ()
    whole_until: int = 0
    choice: str = "chosen"
    name: str = "recorded"
    n_samples: int | None = None

    def settings(self) -> dict[str, Setting]:
        return {}

    def solve(self, problem: Problem, *, seed: int, progress: Progress | None = None) -> Estimate:
        raise AssertionError

    def frozen(self, estimate: Estimate) -> "_Recorded":
        return dataclasses.replace(self, choice=str(estimate.diagnostics["choice"]))

    def solve_slices(
        self, problems: Sequence[Problem], *, progress: Progress | None = None
    ) -> list[Estimate]:
        found = []
        for problem in problems:
            lacking = problem.noise_std.isinf().all(1)
            precision = problem.noise_std.square().reciprocal()
            image = problem.projector.T(precision * problem.sinogram) / problem.projector.T(
                precision * problem.projector(torch.ones_like(problem.projector.T(precision)))
            )
            fold = int(lacking.nonzero()[0]) if bool(lacking.any()) else -1
            self.seen.append((self.choice, fold, int(lacking.sum())))
            if fold in self.broken and len(self.seen) > self.whole_until:
                image = image * math.nan
            found.append(Estimate(mean=image, diagnostics={"choice": "frozen"}))
        return found


def test_every_view_is_left_out_once_with_the_choices_made_for_all():
    method = _Recorded(seen=[])
    assert isinstance(method, FreezableMethod)
    sinogram = _sinogram(_truth(0))
    ct.reconstruct(sinogram, SCAN, GRID, method=jackknife(mean=method, n_folds=6), noise_std=NOISE)
    once = [("frozen", fold, 4) for fold in range(6)]
    assert method.seen == [("chosen", -1, 0), *once, ("frozen", -1, 0), *once]


def test_directions_that_no_view_sees_are_named():
    arc = ct.ParallelBeam([k * math.pi / 48 for k in range(24)], n_detectors=92)
    result = ct.reconstruct(
        _sinogram(_truth(0), arc), arc, GRID, noise_std=NOISE,
        method=jackknife(mean=_Recorded(seen=[]), n_folds=3),
    )  # fmt: skip
    assert result.metadata["calibration"].endswith(
        "; blind to errors along the directions that no view sees, 86° to 180°"
    )


def test_folds_that_diverge_are_left_out_and_named():
    sinogram = _sinogram(_truth(0))

    def solve(*broken: int) -> ct.Reconstruction:
        method = jackknife(mean=_Recorded(seen=[], broken=broken), n_folds=6)
        return ct.reconstruct(sinogram, SCAN, GRID, method=method, noise_std=NOISE)

    result, whole = solve(2, 5), solve()
    assert result.metadata["diagnostics"][0]["excluded_members"] == "2, 5"
    assert "excluded_members" not in whole.metadata["diagnostics"][0]
    assert float(result.std.mean()) == pytest.approx(float(whole.std.mean()), rel=0.3)
    # folds of the simulated scan alone
    method = jackknife(mean=_Recorded(seen=[], broken=(2, 5), whole_until=7), n_folds=6)
    later = ct.reconstruct(sinogram, SCAN, GRID, method=method, noise_std=NOISE)
    for key in ("0.5", "0.95"):
        (one,), (other,) = (each.metadata["held_out_coverage"] for each in (later, whole))
        assert one[key] == pytest.approx(other[key], abs=0.02)
    with pytest.raises(ValueError, match="of all folds but one diverged"):
        solve(0, 1, 2, 3, 4)
    with pytest.raises(ValueError, match="of all folds diverged"):
        solve(0, 1, 2, 3, 4, 5)


@pytest.mark.parametrize("saves", [1, 5, 13])
def test_it_goes_on_from_any_part_of_the_work_to_the_same_bits(saves):
    # two steps and a chunk of folds: three saves an image, three more for its folds
    grid = ct.ImageGrid((10, 10))
    scan = ct.ParallelBeam([k * math.pi / 5 for k in range(5)], n_detectors=15)
    operator = ct.projector(grid, scan)
    clean = operator((_truth(0)[24:34, 24:34] + 1).double())
    problem = Problem(
        sinogram=clean,
        noise_std=torch.full_like(clean, 0.1),
        projector=operator,
        grid=grid,
        scan=scan,
        keep_samples=True,
    )
    method = jackknife(mean=ct.bm3d(steps=3, patch=4, group=2, reach=2), n_folds=3, n_samples=2)
    place = MemoryCheckpoint(stop_after=saves)
    broken = dataclasses.replace(problem, checkpoint=place)
    with pytest.raises(InterruptionError):
        method.solve(broken, seed=0)
    place.left = None
    found, whole = method.solve(broken, seed=0), method.solve(problem, seed=0)
    assert torch.equal(found.mean, whole.mean)
    assert torch.equal(found.std, whole.std)
    assert torch.equal(found.samples, whole.samples)


@pytest.mark.parametrize(("side", "together"), [(16, 6), (300, 2), (600, 1)])
def test_folds_of_large_images_are_done_few_at_a_time_so_that_states_are_left_between(
    side, together
):
    chunks, generator = [], torch.Generator().manual_seed(0)

    @dataclasses.dataclass(frozen=True)
    class Counted(_Recorded):
        def solve_slices(self, problems, *, progress=None):
            chunks.append(len(problems))
            image = torch.rand(problems[0].grid.shape, generator=generator)
            return [Estimate(mean=image, diagnostics={"choice": "any"})] * len(problems)

    grid = ct.ImageGrid((side, side))
    scan = ct.ParallelBeam([0.0, 0.6, 1.2, 1.8, 2.4, 3.0], 30, side / 20)
    clean = ct.projector(grid, scan)(torch.ones(side, side))
    method = jackknife(mean=Counted(seen=[]), n_folds=6)
    ct.reconstruct(clean, scan, grid, method=method, noise_std=0.1)
    assert max(chunks) == together


def test_a_method_that_takes_one_slice_at_a_time_is_refused(as_users_run):
    with pytest.raises(ValueError, match="mean: expected a method that takes several slices"):
        jackknife(mean=ct.mc_dropout())
