import dataclasses
import math

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

import ct
from ct.result import Reconstruction

GRID = ct.ImageGrid((5, 4), pixel_size=0.5)
SCAN = ct.ParallelBeam([0.0, 1.0, 2.0], n_detectors=7)


def _metadata(n_slices: int = 1, first: int = 0, n_samples: int | None = 6) -> dict:
    return {
        "method": "mc-dropout" if n_samples else "fbp",
        "settings": {"steps": 10, "window": None, "rate": 0.5},
        "units": "HU",
        "seed": 3,
        "slices": list(range(first, first + n_slices)),
        "n_samples": n_samples,
        "noise_std": [0.25 + k for k in range(n_slices)],
        "noise_std_source": "given",
        "calibration": "none",
        "versions": {"bayesnn": "0.1.0"},
        "diagnostics": [{"loss": 1.5, "note": None} for _ in range(n_slices)],
    }


def _result(n_slices: int | None = None, *, first: int = 0, keep: bool = True) -> Reconstruction:
    generator = torch.Generator().manual_seed(first)
    samples = torch.randn(n_slices or 1, 6, 5, 4, generator=generator)
    # neighbours agree, as they do in images
    samples = samples.cumsum(-1)
    stack = Reconstruction(
        mean=samples.mean(1),
        std=samples.std(1),
        samples=samples if keep else None,
        metadata=_metadata(n_slices or 1, first),
        grid=GRID,
        scan=SCAN,
    )
    return stack if n_slices else stack.single(0)


def _plain(n_slices: int | None = None) -> Reconstruction:
    shape = (5, 4) if n_slices is None else (n_slices, 5, 4)
    return Reconstruction(
        mean=torch.ones(shape),
        std=None,
        samples=None,
        metadata=_metadata(n_slices or 1, n_samples=None),
        grid=GRID,
        scan=SCAN,
    )


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (_result(), "5 × 4 pixels by mc-dropout: mean, std, 6 samples in HU"),
        (_result(2, keep=False), "2 slices of 5 × 4 pixels by mc-dropout: mean, std in HU"),
        (_plain(), "5 × 4 pixels by fbp: mean in HU"),
    ],
)
def test_a_result_says_in_one_line_what_it_holds(result, said):
    assert repr(result) == f"<Reconstruction of {said}>"


def _assert_equal(a: Reconstruction, b: Reconstruction) -> None:
    for name in ("mean", "std", "samples"):
        one, other = getattr(a, name), getattr(b, name)
        assert (one is None) == (other is None), name
        if one is not None:
            assert one.dtype == other.dtype
            assert torch.equal(one, other)
    assert a.metadata == b.metadata
    assert (a.grid, a.scan) == (b.grid, b.scan)


@given(level=st.floats(0, 0.999))
def test_intervals_are_student_t(level):
    result = _result()
    lower, upper = result.interval(level)
    factor = student.ppf(0.5 + level / 2, 5) * math.sqrt(1 + 1 / 6)
    assert torch.allclose(upper - result.mean, factor * result.std, atol=1e-5)
    assert torch.allclose(result.mean - lower, factor * result.std, atol=1e-5)


def test_intervals_cover_new_draws_at_their_level():
    # the law that Student's t and √(1 + 1/n) are there for: few samples, honest coverage
    generator = torch.Generator().manual_seed(0)
    grid = ct.ImageGrid((200, 200))
    samples = torch.randn(4, 200, 200, generator=generator)
    result = Reconstruction(
        mean=samples.mean(0),
        std=samples.std(0),
        samples=None,
        metadata={"n_samples": 4},
        grid=grid,
        scan=SCAN,
    )
    truth = torch.randn(200, 200, generator=generator)
    for level in (0.5, 0.9, 0.95):
        lower, upper = result.interval(level)
        covered = float(((lower <= truth) & (truth <= upper)).double().mean())
        assert abs(covered - level) < 4 * math.sqrt(level * (1 - level) / 40_000)


def test_a_region_is_the_mean_of_joint_samples():
    result = _result()
    mask = np.zeros((5, 4), dtype=bool)
    mask[1:4, 1:] = True
    region = result.region(mask)
    means = result.samples[:, torch.from_numpy(mask)].mean(1)
    assert torch.allclose(region.mean, result.mean[torch.from_numpy(mask)].mean())
    assert torch.allclose(region.std, means.std())
    assert (region.n_pixels, region.n_samples) == (9, 6)
    for level in (0.5, 0.9):
        lower, upper = region.interval(level)
        half = student.ppf(0.5 + level / 2, 5) * math.sqrt(1 + 1 / 6) * region.std
        assert torch.allclose(upper - region.mean, half)
        assert torch.allclose(region.mean - lower, half)


def test_correlated_pixels_widen_a_region_and_independent_ones_do_not():
    generator = torch.Generator().manual_seed(0)
    grid = ct.ImageGrid((30, 30))
    independent = torch.randn(400, 30, 30, generator=generator)
    equal = torch.randn(400, 1, 1, generator=generator).expand(400, 30, 30)
    spreads = [
        float(
            Reconstruction(
                mean=samples.mean(0),
                std=samples.std(0),
                samples=samples,
                metadata={"n_samples": 400},
                grid=grid,
                scan=SCAN,
            )
            .region(torch.ones(30, 30, dtype=torch.bool))
            .std
        )
        for samples in (independent, equal)
    ]
    assert spreads[0] == pytest.approx(1 / 30, rel=0.15)
    assert spreads[1] == pytest.approx(1, rel=0.15)


def test_regions_of_a_stack_are_one_a_slice_or_one_in_all():
    stack = _result(3)
    flat = torch.ones(5, 4, dtype=torch.bool)
    per_slice = stack.region(flat)
    assert torch.allclose(per_slice.std[1], stack.single(1).region(flat).std)
    volume = stack.region(flat.expand(3, 5, 4))
    means = stack.samples.mean(dim=(0, 2, 3))
    assert torch.allclose(volume.std, means.std())
    assert volume.n_pixels == 60


def test_methods_without_uncertainty_say_so():
    for call in (lambda r: r.interval(0.9), lambda r: r.region(torch.ones(5, 4) > 0)):
        with pytest.raises(ValueError, match="fbp gives no uncertainty"):
            call(_plain())


@pytest.mark.parametrize("level", [-0.1, 1.0, float("nan")])
def test_impossible_levels_are_refused(level):
    with pytest.raises(ValueError, match="level"):
        _result().interval(level)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((5, 4)), "true and false"),
        (np.ones((4, 5), dtype=bool), "shape"),
        (np.zeros((5, 4), dtype=bool), "empty"),
    ],
)
def test_impossible_regions_are_refused(mask, message):
    with pytest.raises(ValueError, match=message):
        _result().region(mask)


def test_a_region_needs_samples():
    with pytest.raises(ValueError, match="keep_samples=True"):
        _result(keep=False).region(np.ones((5, 4), dtype=bool))


@pytest.mark.parametrize("field", ["mean", "std", "samples"])
def test_shapes_must_fit_each_other(field):
    result = _result()
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(result, **{field: getattr(result, field)[..., :-1]})


@pytest.mark.parametrize(
    "result",
    [_result(), _result(2), _result(2, keep=False), _plain(), _plain(3)],
    ids=["image", "stack", "no-samples", "fbp", "fbp-stack"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_files_give_back_everything(result, dtype, tmp_path):
    cast = {
        name: getattr(result, name).to(dtype)
        for name in ("mean", "std", "samples")
        if getattr(result, name) is not None
    }
    result = dataclasses.replace(result, **cast)
    result.save(tmp_path / "scan.h5")
    _assert_equal(Reconstruction.load(tmp_path / "scan.h5"), result)
    assert [p.name for p in tmp_path.iterdir()] == ["scan.h5"]


def test_the_file_has_the_documented_layout(tmp_path):
    _result().save(tmp_path / "scan.h5")
    with h5py.File(tmp_path / "scan.h5") as file:
        assert file["mean"].shape == file["std"].shape == (1, 5, 4)
        assert file["samples"].shape == (1, 6, 5, 4)
        assert {
            "method", "settings", "geometry", "units", "seed", "versions", "calibration",
        } <= set(file.attrs)  # fmt: skip
        assert file.attrs["units"] == "HU"


def test_thousands_of_angles_and_slices_fit_into_a_file(tmp_path):
    scan = ct.ParallelBeam([k * math.pi / 6000 for k in range(6000)], n_detectors=7)
    many = dataclasses.replace(_plain(5000), scan=scan)
    many.save(tmp_path / "scan.h5")
    _assert_equal(Reconstruction.load(tmp_path / "scan.h5"), many)


def test_stacking_and_merging_agree(tmp_path):
    parts = [_result(first=0), _result(2, first=1), _result(first=3)]
    stack = Reconstruction.stack(parts)
    assert stack.mean.shape == (4, 5, 4)
    assert stack.metadata["slices"] == [0, 1, 2, 3]
    _assert_equal(stack.single(0), parts[0])
    paths = []
    for index, part in enumerate(parts):
        paths.append(tmp_path / f"{index}.h5")
        part.save(paths[-1])
    Reconstruction.merge(paths, tmp_path / "all.h5")
    _assert_equal(Reconstruction.load(tmp_path / "all.h5"), stack)


def test_a_stack_keeps_samples_only_if_every_part_has_them(tmp_path):
    parts = [_result(first=0), _result(first=1, keep=False)]
    assert Reconstruction.stack(parts).samples is None
    for index, part in enumerate(parts):
        part.save(tmp_path / f"{index}.h5")
    Reconstruction.merge([tmp_path / "0.h5", tmp_path / "1.h5"], tmp_path / "all.h5")
    assert Reconstruction.load(tmp_path / "all.h5").samples is None


def test_different_work_is_not_stacked(tmp_path):
    a = _result()
    b = dataclasses.replace(a, metadata={**a.metadata, "seed": 4})
    c = dataclasses.replace(a, scan=ct.ParallelBeam([0.0], n_detectors=7))
    for other, message in ((b, "seed"), (c, "geometry")):
        with pytest.raises(ValueError, match=message):
            Reconstruction.stack([a, other])
        a.save(tmp_path / "a.h5")
        other.save(tmp_path / "b.h5")
        with pytest.raises(ValueError, match=message):
            Reconstruction.merge([tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "all.h5")
        assert not (tmp_path / "all.h5").exists()
    with pytest.raises(ValueError, match="at least one"):
        Reconstruction.stack([])


def test_missing_slices_are_refused():
    for result, index in ((_result(2), 2), (_result(), 0)):
        with pytest.raises(ValueError, match="single"):
            result.single(index)


def _truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def _make_newer(path):
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = "bayesnn-ct reconstruction 99"


def _make_foreign(path):
    path.unlink()
    with h5py.File(path, "w") as file:
        file["exchange"] = np.zeros(3)


def _drop(name):
    def drop(path):
        with h5py.File(path, "r+") as file:
            if name in file:
                del file[name]
            else:
                del file.attrs[name]

    return drop


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(b"PNG, say"), "another kind of file"),
        (_truncate, "truncated"),
        (_make_newer, "later release"),
        (_make_foreign, "another HDF5 file .it holds exchange."),
        (_drop("mean"), "damaged"),
        (_drop("geometry"), "damaged"),
        (_drop("settings"), "damaged"),
    ],
    ids=["missing", "empty", "foreign", "truncated", "newer", "hdf5", "mean", "geometry", "meta"],
)
def test_files_that_are_not_whole_results_are_refused_in_one_line(damage, message, tmp_path):
    path = tmp_path / "scan.h5"
    _result().save(path)
    damage(path)
    with pytest.raises(ValueError, match=message) as error:
        Reconstruction.load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "scan.h5"
    _result().save(path)
    before = path.read_bytes()
    broken = dataclasses.replace(_result(), metadata={**_metadata(), "settings": {"x": object()}})
    with pytest.raises(TypeError):
        broken.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["scan.h5"]


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        _result().save(tmp_path / "nowhere" / "scan.h5")
