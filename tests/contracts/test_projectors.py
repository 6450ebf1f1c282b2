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
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, jacfwd, jacrev, jvp, vmap

from ct.geometry import FanBeam, ImageGrid, ParallelBeam, Scan, with_angles
from ct.projectors.operator import Projector, projector
from ct.projectors.reference import reference_projector

Make = Callable[[ImageGrid, Scan], Projector]

GRID = ImageGrid(shape=(5, 4), pixel_size=0.7)
SCANS: dict[str, Scan] = {
    "parallel": ParallelBeam((0.1, 1.2, 2.9), n_detectors=6, detector_spacing=0.8, center=2.1),
    "flat": FanBeam((0.1, 2.4, 5.9), 6, 4.0, 7.0, 1.1, center=2.1, source_offset=0.3),
    "curved": FanBeam((0.1, 2.4, 5.9), 6, 4.0, 7.0, 1.1, center=2.8, curved=True),
}
SCAN = SCANS["parallel"]

# some angles are one another's mirror images or quarter turns, or lie on diagonals
angles = st.floats(-2 * math.pi, 2 * math.pi) | st.integers(-24, 24).map(lambda k: k * math.pi / 12)
geometries = st.fixed_dictionaries({
    "kind": st.sampled_from(sorted(SCANS)),
    "shape": st.tuples(st.integers(1, 12), st.integers(1, 12))
    | st.integers(1, 9).map(lambda n: (n, n)),
    "pixel_size": st.floats(0.3, 3),
    "angles": st.lists(angles, min_size=1, max_size=6),
    "n_detectors": st.integers(1, 16),
    "spacing": st.floats(0.2, 1.2),
    "center": st.none() | st.floats(-3, 18),
    "distance": st.floats(1.05, 4),
    "magnification": st.floats(1, 3),
    "offset": st.sampled_from([0.0, 0.0, -0.4, 0.7]),
})


def _geometry(fields: dict[str, Any]) -> tuple[ImageGrid, Scan]:
    grid = ImageGrid(fields["shape"], fields["pixel_size"])
    n, center = fields["n_detectors"], fields["center"]
    if fields["kind"] == "parallel":
        spacing = fields["spacing"] * grid.pixel_size
        return grid, ParallelBeam(fields["angles"], n, spacing, center)
    near = fields["distance"] * grid.radius
    far = fields["magnification"] * near
    return grid, FanBeam(
        fields["angles"],
        n,
        near,
        far,
        far * fields["spacing"] / 20,  # at most 18 bins from the middle: just over one radian
        center,
        fields["offset"] * grid.pixel_size,
        curved=fields["kind"] == "curved",
    )


@pytest.fixture(scope="module", params=[projector, reference_projector])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


@pytest.fixture(scope="module", params=SCANS.values(), ids=SCANS.keys())
def scan(request: pytest.FixtureRequest) -> Scan:
    made: Scan = request.param
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


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (6, 6)])
@pytest.mark.parametrize("kind", ["diagonal", "wide"])
def test_rows_and_columns_are_chosen_ray_by_ray(
    device: str, shape: tuple[int, int], kind: str
) -> None:
    grid = ImageGrid(shape)
    scan: Scan = ParallelBeam([k * math.pi / 4 for k in (1, 3, 5, 7, -1)], 9)
    if kind == "wide":  # from 6 mm before the image, over more than a quarter turn
        scan = FanBeam([k * math.pi / 6 for k in range(12)], 31, 6.0, 9.0, 0.7, center=14.2)
        steep = scan.rays.direction[..., 1].abs() > scan.rays.direction[..., 0].abs()
        assert (steep.any(dim=1) & ~steep.all(dim=1)).any()
    fast, slow = projector(grid, scan), reference_projector(grid, scan)
    x, y = _draw(*fast.domain_shape, device=device), _draw(*fast.range_shape, device=device)
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


def test_is_linear(make: Make, scan: Scan, device: str) -> None:
    A = make(GRID, scan)
    x1, x2 = _draw(2, *A.domain_shape, device=device)
    torch.testing.assert_close(A(2 * x1 - 3 * x2), 2 * A(x1) - 3 * A(x2))


def test_gradients_of_first_and_second_order(make: Make, scan: Scan, device: str) -> None:
    A = make(ImageGrid((2, 3), 1.2), with_angles(scan, scan.angles[:2]))
    for operator in (A, A.T):
        x = _draw(*operator.domain_shape, device=device).requires_grad_()
        assert gradcheck(operator, (x,), check_forward_ad=True)
        assert gradgradcheck(operator, (x,))


def test_function_transforms_see_the_matrix(make: Make, scan: Scan, device: str) -> None:
    A = make(GRID, scan)
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


@pytest.mark.parametrize("batch", [(), (1,), (2,), (7,), (2, 3), (0,), (19,)])
@pytest.mark.parametrize("kind", ["parallel", "alike"])
def test_batches_equal_a_loop(make: Make, device: str, batch: tuple[int, ...], kind: str) -> None:
    alike = FanBeam([k * math.pi / 4 for k in range(8)], 7, 6.0, 9.0)
    A = make(GRID, SCAN) if kind == "parallel" else make(ImageGrid((5, 5)), alike)
    for operator in (A, A.T):
        x = _draw(*batch, *operator.domain_shape, device=device)
        y = operator(x)
        assert y.shape == (*batch, *operator.range_shape)
        for index in np.ndindex(*batch):
            torch.testing.assert_close(y[index], operator(x[index]))


def test_vmap_equals_a_loop(make: Make, scan: Scan, device: str) -> None:
    A = make(GRID, scan)
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


@pytest.mark.usefixtures("as_users_run")
def test_a_source_within_the_image_is_refused(make: Make) -> None:
    near = FanBeam((0.0,), n_detectors=3, source_origin=2.0, source_detector=9.0)
    with pytest.raises(ValueError, match="corners nearer to the axis than the source"):
        make(GRID, near)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_nothing_is_copied_from_or_to_the_host_after_the_first_use(scan: Scan) -> None:
    A = projector(GRID, scan)
    x = _draw(3, *A.domain_shape, dtype=torch.float32, device="cuda").requires_grad_()
    y = _draw(3, *A.range_shape, dtype=torch.float32, device="cuda")

    def use() -> None:
        A(x).backward(A(A.T(y)))
        vmap(A)(x)

    use()
    torch.cuda.synchronize()
    try:
        torch.cuda.set_sync_debug_mode("error")
        use()
    finally:
        torch.cuda.set_sync_debug_mode("default")
