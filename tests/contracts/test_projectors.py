"""Laws that every projector obeys."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.transform import radon
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, jacfwd, jacrev, jvp, vmap

from ct.geometry import ImageGrid, ParallelBeam
from ct.projectors.operator import Projector, projector
from ct.projectors.reference import reference_projector
from tests.reference.gaussian_phantom import GaussianBlob

Make = Callable[[ImageGrid, ParallelBeam], Projector]

GRID = ImageGrid(shape=(5, 4), pixel_size=0.7)
SCAN = ParallelBeam(angles=(0.1, 1.2, 2.9), n_detectors=6, detector_spacing=0.8, center=2.1)
BLOB = GaussianBlob(x=9.0, y=-6.0, a=7.0, b=4.0, tilt=0.4)

geometries = st.fixed_dictionaries({
    "shape": st.tuples(st.integers(1, 12), st.integers(1, 12)),
    "pixel_size": st.floats(0.3, 3),
    "angles": st.lists(st.floats(-2 * math.pi, 2 * math.pi), min_size=1, max_size=5),
    "n_detectors": st.integers(1, 16),
    "detector_spacing": st.floats(0.2, 3),
    "center": st.none() | st.floats(-3, 18),
})


def _geometry(fields: dict[str, Any]) -> tuple[ImageGrid, ParallelBeam]:
    fields = dict(fields)
    grid = ImageGrid(shape=fields.pop("shape"), pixel_size=fields.pop("pixel_size"))
    return grid, ParallelBeam(**fields)


@pytest.fixture(scope="module", params=[projector, reference_projector])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


def _draw(*shape: int, dtype: torch.dtype = torch.float64, device: str = "cpu") -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, dtype=dtype, generator=generator).to(device)


def _relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@given(fields=geometries)
def test_adjoint_is_exact(
    make: Make, device: str, dtype: torch.dtype, tolerance: float, fields: dict[str, Any]
) -> None:
    grid, scan = _geometry(fields)
    A = make(grid, scan)
    x = _draw(*A.domain_shape, dtype=dtype, device=device)
    y = _draw(*A.range_shape, dtype=dtype, device=device)
    Ax, Aty = A(x), A.T(y)
    assert Ax.dtype == Aty.dtype == dtype
    assert Ax.device.type == Aty.device.type == device
    error = (Ax * y).double().sum() - (x * Aty).double().sum()
    assert abs(error) <= tolerance * Ax.double().norm() * y.double().norm()


@given(fields=geometries)
def test_fast_equals_reference(device: str, fields: dict[str, Any]) -> None:
    grid, scan = _geometry(fields)
    fast, slow = projector(grid, scan), reference_projector(grid, scan)
    x, y = _draw(2, *fast.domain_shape, device=device), _draw(2, *fast.range_shape, device=device)
    torch.testing.assert_close(fast(x), slow(x), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(fast.T(y), slow.T(y), rtol=1e-11, atol=1e-11)


def test_transpose_of_the_transpose_is_the_projector(make: Make) -> None:
    A = make(GRID, SCAN)
    assert A.T.T is A
    assert A.domain_shape == A.T.range_shape == (5, 4)
    assert A.range_shape == A.T.domain_shape == (3, 6)


def test_weights_are_freed_with_the_projector() -> None:
    A = projector(GRID, SCAN)
    x = _draw(5, 4).requires_grad_()
    A(x).square().sum().backward()
    ref = weakref.ref(A)
    gc.disable()
    try:
        del A
        assert ref() is None
    finally:
        gc.enable()


def test_is_linear(make: Make, device: str) -> None:
    A = make(GRID, SCAN)
    x1, x2 = _draw(2, *A.domain_shape, device=device)
    torch.testing.assert_close(A(2 * x1 - 3 * x2), 2 * A(x1) - 3 * A(x2))


def test_gradients_of_first_and_second_order(make: Make, device: str) -> None:
    A = make(GRID, SCAN)
    for operator in (A, A.T):
        x = _draw(2, *operator.domain_shape, device=device).requires_grad_()
        assert gradcheck(operator, (x,), check_forward_ad=True)
        assert gradgradcheck(operator, (x,))


def test_function_transforms_see_the_matrix(make: Make, device: str) -> None:
    A = make(GRID, SCAN)
    x, direction = _draw(2, *A.domain_shape, device=device)
    n_in, n_out = math.prod(A.domain_shape), math.prod(A.range_shape)
    unit_images = torch.eye(n_in, dtype=x.dtype, device=device).reshape(n_in, *A.domain_shape)
    matrix = A(unit_images).reshape(n_in, n_out).T
    for jacobian in (jacrev, jacfwd):
        torch.testing.assert_close(jacobian(A)(x).reshape(n_out, n_in), matrix)

    def half_square(x: Tensor) -> Tensor:
        return A(x).square().sum() / 2

    # the Hessian of ½‖Ax‖² is AᵀA: forward over reverse
    _, product = jvp(grad(half_square), (x,), (direction,))
    torch.testing.assert_close(product, A.T(A(direction)))


@pytest.mark.parametrize("batch", [(), (1,), (2,), (7,), (2, 3), (0,)])
def test_batches_equal_a_loop(make: Make, device: str, batch: tuple[int, ...]) -> None:
    A = make(GRID, SCAN)
    for operator in (A, A.T):
        x = _draw(*batch, *operator.domain_shape, device=device)
        y = operator(x)
        assert y.shape == (*batch, *operator.range_shape)
        for index in np.ndindex(*batch):
            torch.testing.assert_close(y[index], operator(x[index]))


def test_vmap_equals_a_loop(make: Make, device: str) -> None:
    A = make(GRID, SCAN)
    x = _draw(2, 5, 3, 4, device=device)  # the first and the third are batches
    expected = A(x.movedim(2, 1))
    torch.testing.assert_close(vmap(A, in_dims=2)(x), expected.movedim(1, 0))
    torch.testing.assert_close(vmap(vmap(A, in_dims=1), in_dims=0)(x), expected)

    def loss(x: Tensor) -> Tensor:
        return A(x).square().sum()

    torch.testing.assert_close(vmap(grad(loss))(x.movedim(2, 0)[:, 0]), 2 * A.T(expected[0]))


@pytest.mark.parametrize("layout", ["transposed", "strided", "expanded"])
def test_memory_layout_does_not_matter(make: Make, device: str, layout: str) -> None:
    A = make(GRID, SCAN)
    x = {
        "transposed": _draw(4, 5, device=device).mT,
        "strided": _draw(10, 8, device=device)[::2, ::2],
        "expanded": _draw(1, 4, device=device).expand(5, 4),
    }[layout]
    torch.testing.assert_close(A(x), A(x.clone(memory_format=torch.contiguous_format)))


@pytest.mark.parametrize("batch", [1, 4])
def test_autocast_does_not_round(make: Make, device: str, batch: int) -> None:
    A = make(GRID, SCAN)
    x = _draw(batch, 5, 4, dtype=torch.float32, device=device)
    with torch.autocast(device, dtype=torch.bfloat16):
        y = A(x)
    torch.testing.assert_close(y, A(x))


def _blob_geometry(**changes: Any) -> tuple[ImageGrid, ParallelBeam]:
    angles = np.pi * np.arange(9) / 9
    fields: dict[str, Any] = {"angles": angles, "n_detectors": 75} | changes
    return ImageGrid(shape=(47, 61)), ParallelBeam(**fields)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"center": 30.3},
        {"detector_spacing": 0.6, "n_detectors": 120},
        {"angles": [-5.0, 0.3, 4.0]},
    ],
)
def test_line_integrals_of_a_gaussian(make: Make, changes: dict[str, Any]) -> None:
    grid, scan = _blob_geometry(**changes)
    measured = make(grid, scan)(BLOB.image(grid))
    assert _relative(measured, BLOB.sinogram(scan)) < 0.003


def test_line_integrals_are_in_mm(make: Make) -> None:
    grid, scan = ImageGrid(shape=(8, 8)), ParallelBeam(angles=(0.3, 2.0), n_detectors=9)
    finer = ImageGrid(shape=(8, 8), pixel_size=0.5)
    finer_scan = ParallelBeam(angles=(0.3, 2.0), n_detectors=9, detector_spacing=0.5)
    x = _draw(8, 8)
    torch.testing.assert_close(make(finer, finer_scan)(x), 0.5 * make(grid, scan)(x))


def test_agrees_with_skimage_and_not_with_the_wrong_sign(make: Make) -> None:
    n = 61  # odd: scikit-image turns an image about pixel n // 2
    grid = ImageGrid(shape=(n, n))
    angles = np.pi * np.arange(12) / 12
    image = BLOB.image(grid) + 0.5 * GaussianBlob(x=-8, y=-9, a=3, b=6, tilt=0.0).image(grid)
    expected = torch.from_numpy(radon(image.numpy(), np.rad2deg(angles), circle=False).T)
    n_detectors = expected.shape[1]
    scan = ParallelBeam(angles=angles, n_detectors=n_detectors, center=n_detectors // 2)
    flipped = ParallelBeam(angles=-angles, n_detectors=n_detectors, center=n_detectors // 2)
    assert _relative(make(grid, scan)(image), expected) < 0.03
    assert _relative(make(grid, flipped)(image), expected) > 0.5


def test_a_shifted_centre_shifts_the_sinogram(make: Make) -> None:
    here = ParallelBeam(angles=(0.3, 1.9), n_detectors=12)
    there = ParallelBeam(angles=(0.3, 1.9), n_detectors=12, center=here.center + 2)
    x = _draw(*GRID.shape)
    torch.testing.assert_close(make(GRID, there)(x)[:, 2:], make(GRID, here)(x)[:, :-2])


@given(angle=st.floats(-3, 3))
def test_turning_the_scan_turns_the_image(make: Make, angle: float) -> None:
    grid = ImageGrid(shape=(6, 6))
    x = _draw(6, 6)

    def view(angle: float, x: Tensor) -> Tensor:
        return make(grid, ParallelBeam(angles=(angle,), n_detectors=9))(x)[0]

    # π/4 is where a view changes from row steps to column steps; both sides are approximations
    if abs(math.remainder(angle - math.pi / 4, math.pi / 2)) > 1e-9:
        clockwise = torch.rot90(x, k=-1)
        torch.testing.assert_close(view(angle + math.pi / 2, x), view(angle, clockwise))
        torch.testing.assert_close(view(angle + math.pi, x), view(angle, x).flip(0))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(4, 5), r"expected shape \[..., 5, 4\], got \[4, 5\]"),
        (torch.zeros(4), r"got \[4\]"),
        (torch.zeros(5, 4, dtype=torch.int64), "float32 or float64"),
        (torch.zeros(5, 4, dtype=torch.float16), "float32 or float64"),
        (torch.zeros(5, 4, dtype=torch.complex64), "float32 or float64"),
        (np.zeros((5, 4)), "got ndarray"),
    ],
)
@pytest.mark.usefixtures("as_users_run")
def test_wrong_input_is_refused(make: Make, x: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(GRID, SCAN)(x)
