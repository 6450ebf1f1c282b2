from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pydicom
import pytest
import torch
from pydicom.data import get_testdata_file
from skimage.data import shepp_logan_phantom
from skimage.transform import resize
from torch import Tensor

from ct.geometry import FanBeam, ImageGrid, ParallelBeam, Scan
from ct.noise import estimate_noise_std, estimate_noise_std_between_views
from ct.projectors.operator import projector

SIZE = 128


def _shepp_logan() -> Tensor:
    return torch.from_numpy(resize(shepp_logan_phantom(), (SIZE, SIZE), anti_aliasing=True))


def _real_slice() -> Tensor:
    path = get_testdata_file("CT_small.dcm")
    pixels = pydicom.dcmread(path).pixel_array.astype(np.float64)
    return torch.from_numpy(pixels - pixels.min())


def _half_turn(n_views: int) -> np.ndarray:
    return np.pi * np.arange(n_views) / n_views


N_DETECTORS = math.ceil(math.sqrt(2) * SIZE) + 1


def _noisy(
    image: Tensor, angles: np.ndarray, snr_db: float, *, seed: int = 0, center: float | None = None
) -> tuple[Tensor, float]:
    """A sinogram with white noise and that noise's standard deviation."""
    return _with_noise(image, ParallelBeam(angles, N_DETECTORS, center=center), snr_db, seed=seed)


def _with_noise(image: Tensor, scan: Scan, snr_db: float, *, seed: int = 0) -> tuple[Tensor, float]:
    clean = projector(ImageGrid((SIZE, SIZE)), scan)(image)
    std = float(clean.square().mean().sqrt()) * 10 ** (-snr_db / 20)
    noise = torch.randn(
        clean.shape, dtype=clean.dtype, generator=torch.Generator().manual_seed(seed)
    )
    return clean + std * noise, std


@pytest.mark.parametrize("make_image", [_shepp_logan, _real_slice])
@pytest.mark.parametrize("n_views", [60, 120])
@pytest.mark.parametrize(("snr_db", "tolerance"), [(30, 0.08), (40, 0.08), (50, 0.25)])
def test_finds_the_noise_of_a_simulated_scan(
    make_image: Callable[[], Tensor], n_views: int, snr_db: float, tolerance: float
) -> None:
    sinogram, std = _noisy(make_image(), _half_turn(n_views), snr_db)
    assert estimate_noise_std(sinogram) == pytest.approx(std, rel=tolerance)


@pytest.mark.parametrize("n_views", [5, 10, 20])
def test_few_views(n_views: int) -> None:
    for seed in range(3):
        sinogram, std = _noisy(_shepp_logan(), _half_turn(n_views), 40, seed=seed)
        assert 0.75 * std < estimate_noise_std(sinogram) < 1.35 * std


RANDOM_ANGLES = np.sort(np.random.default_rng(0).uniform(0, np.pi, 60))


@pytest.mark.parametrize(
    ("angles", "center", "tolerance"),
    [
        (2 * _half_turn(120), None, 0.06),
        (2 * _half_turn(60), None, 0.1),
        (RANDOM_ANGLES, None, 0.3),
        (_half_turn(60) / 2, None, 0.3),
        (_half_turn(60), 80.3, 0.3),
    ],
    ids=["full turn", "coarse full turn", "uneven", "limited", "off-centre"],
)
def test_other_scans(angles: np.ndarray, center: float | None, tolerance: float) -> None:
    sinogram, std = _noisy(_shepp_logan(), angles, 40, center=center)
    assert estimate_noise_std(sinogram) == pytest.approx(std, rel=tolerance)


def test_padding_and_dead_detectors_do_not_count() -> None:
    sinogram, std = _noisy(_real_slice(), _half_turn(60), 40)
    dead = sinogram.clone()
    dead[:, 80:84] = 0
    dead[7] = 0
    for changed in (torch.nn.functional.pad(sinogram, (60, 40)), dead):
        assert estimate_noise_std(changed) == pytest.approx(std, rel=0.06)


def test_scales_with_the_values_and_takes_any_container() -> None:
    sinogram, _ = _noisy(_real_slice(), _half_turn(60), 40)
    std = estimate_noise_std(sinogram)
    assert estimate_noise_std(-7 * sinogram) == pytest.approx(7 * std)
    assert estimate_noise_std(sinogram.float().numpy()) == pytest.approx(std, rel=1e-5)


def test_white_noise_alone() -> None:
    for shape in [(2, 40), (60, 8), (1, 200), (300, 100)]:
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        assert estimate_noise_std(noise) == pytest.approx(1, rel=0.35)


@pytest.mark.parametrize(
    ("sinogram", "message"),
    [
        (torch.zeros(60, 91), "too few"),
        (torch.ones(60, 91), "no noise"),
        (torch.eye(3), "too few"),
        (torch.ones(60), "2 dimensions"),
        (torch.full((60, 91), math.nan), "finite"),
    ],
)
def test_what_cannot_be_estimated_is_refused(sinogram: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimate_noise_std(sinogram)


def _fan(angles: np.ndarray, source_origin: float) -> FanBeam:
    return FanBeam(angles, N_DETECTORS, source_origin, 1.35 * source_origin, 1.35)


@pytest.mark.parametrize(
    ("angles", "source_origin", "snr_db", "tolerance"),
    [
        (2 * _half_turn(60), 320, 40, 0.15),
        (2 * _half_turn(60), 115, 40, 0.25),
        (2 * _half_turn(360), 320, 50, 0.35),
        (_half_turn(181) / 2, 320, 40, 0.08),
        (_half_turn(181) / 2, 115, 50, 0.25),
        (_half_turn(20) / 2, 320, 40, 0.35),
    ],
    ids=[
        "full turn",
        "wide fan",
        "dense, little noise",
        "limited",
        "limited and wide",
        "few views",
    ],
)
@pytest.mark.parametrize("make_image", [_shepp_logan, _real_slice])
def test_fan_beams(
    make_image: Callable[[], Tensor],
    angles: np.ndarray,
    source_origin: float,
    snr_db: float,
    tolerance: float,
) -> None:
    sinogram, std = _with_noise(make_image(), _fan(angles, source_origin), snr_db)
    assert 0.93 * std < estimate_noise_std(sinogram) < (1 + tolerance) * std


def test_views_half_a_degree_apart_on_a_limited_arc() -> None:
    """Where neither wedge is empty, differences along views and detector still find the noise."""
    sinogram, std = _noisy(_shepp_logan(), _half_turn(181) / 2, 40)
    assert estimate_noise_std(sinogram) == pytest.approx(std, rel=0.08)


@pytest.mark.parametrize("make_image", [_shepp_logan, _real_slice])
def test_the_factor_of_noise_that_differs_from_ray_to_ray(
    make_image: Callable[[], Tensor],
) -> None:
    """Noise as of counts, ten times larger in the object's shadow, and one ray in fifty missing."""
    clean, _ = _noisy(make_image(), _half_turn(90), 200)
    shape = torch.exp(clean / clean.max() * 2.3)
    generator = torch.Generator().manual_seed(0)
    std = 0.005 * float(clean.square().mean().sqrt())
    noisy = clean + std * shape * torch.randn(clean.shape, dtype=clean.dtype, generator=generator)
    missing = torch.rand(clean.shape, generator=generator) < 0.02
    shape = torch.where(missing, math.inf, shape)
    guessed = torch.where(missing, (noisy.roll(1, 1) + noisy.roll(-1, 1)) / 2, noisy)
    assert estimate_noise_std(guessed, shape) == pytest.approx(std, rel=0.13)
    # the same noise taken for white is another number
    assert estimate_noise_std(guessed) > 1.5 * std


def test_stripes_are_no_noise_where_views_are_dense() -> None:
    sinogram, std = _noisy(_real_slice(), _half_turn(180), 40)
    stripes = torch.randn(N_DETECTORS, generator=torch.Generator().manual_seed(3))
    assert estimate_noise_std(sinogram + 5 * std * stripes) == pytest.approx(std, rel=0.08)


@pytest.mark.parametrize("relative", [torch.ones(2, 3), torch.zeros(60, 40)])
def test_relative_noise_that_cannot_be_is_refused(relative: Tensor) -> None:
    with pytest.raises(ValueError, match="relative_std: expected numbers above 0"):
        estimate_noise_std(torch.randn(60, 40), relative)


@pytest.mark.parametrize(("make_image", "tolerance"), [(_shepp_logan, 0.05), (_real_slice, 0.02)])
def test_noise_that_bins_share_counts_whole_between_dense_views(
    make_image: Callable[[], Tensor], tolerance: float
) -> None:
    clean, _ = _noisy(make_image(), _half_turn(360), 200)
    std = 0.01 * float(clean.square().mean().sqrt())
    generator = torch.Generator().manual_seed(1)
    white = torch.randn(360, N_DETECTORS + 2, generator=generator, dtype=clean.dtype)
    shared = (white[:, 1:-1] + (white[:, :-2] + white[:, 2:]) / 8) / (1 + 2 / 64) ** 0.5
    stripes = torch.randn(N_DETECTORS, generator=generator, dtype=clean.dtype)
    found = estimate_noise_std_between_views(clean + std * (shared + 3 * stripes))
    assert found == pytest.approx(std, rel=tolerance)
    # neighbours' correlation of a quarter hides a fifth of it from differences along the detector
    assert estimate_noise_std(clean + std * shared) < 0.9 * std


def test_too_few_views_to_compare_are_refused() -> None:
    with pytest.raises(ValueError, match="too few for differences along the views"):
        estimate_noise_std_between_views(torch.randn(4, 40))
