"""Conjugate gradients over tiles: budgets, precisions, preconditioners, and what is said."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bayesnn.gp import Kernel, fit_gp, fit_gp_iterative
from bayesnn.gp.conjugate_gradients import conjugate_gradients
from bayesnn.gp.preconditioner import LowRankPreconditioner, randomly_pivoted_cholesky
from bayesnn.gp.tiles import KernelTiles
from bayesnn.kernels import ntk
from bayesnn.networks import Erf, mlp
from bayesnn.seeds import seeded_generator

NTK = ntk(mlp(in_features=2, out_features=1, width=4, depth=2, activation=Erf()))


def _data(n: int = 300, outputs: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    generator = seeded_generator(0)
    x, points = (torch.randn(m, 2, dtype=torch.float64, generator=generator) for m in (n, 20))
    noise = torch.randn(n, outputs, dtype=torch.float64, generator=generator)
    return x, x.sum(1, keepdim=True).sin() + 0.1 * noise, points


class _Watched:
    """A kernel that notes the sizes of what it was asked for."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.shapes: list[tuple[int, int]] = []

    def __call__(self, x1: Tensor, x2: Tensor | None = None) -> Tensor:
        self.shapes.append((len(x1), len(x1 if x2 is None else x2)))
        return self.kernel(x1, x2)


@pytest.mark.parametrize("budget", [40_000, 60_000, 2**20])
def test_the_budget_is_kept(budget: int) -> None:
    x, y, points = _data(80)
    watched = _Watched(NTK)
    gp = fit_gp_iterative(watched, x, y, noise_std=0.3, memory_budget=budget)
    largest = max(a * b for a, b in watched.shapes if a != len(x))
    assert largest * 8 <= budget / 4
    assert gp.solver.tiles.kept_bytes + 8 * len(x) * gp.plan.rank <= budget
    whole = gp.solver.tiles.n_kept == gp.solver.tiles.n_tiles
    assert whole == (budget == 2**20)
    # a tile that is kept is computed once; one that is not, at every product
    of_tiles = [shape for shape in watched.shapes if shape == (gp.plan.side, gp.plan.side)]
    of_diagonal = -(-len(x) // gp.plan.side)
    assert (len(of_tiles) <= gp.solver.tiles.n_tiles + of_diagonal) == whole
    exact = fit_gp(NTK, x, y, noise_std=0.3).mean(points)
    torch.testing.assert_close(gp.mean(points), exact, rtol=1e-4, atol=1e-5)


def test_a_budget_that_cannot_be_kept_is_said() -> None:
    x, y, _ = _data()
    with pytest.raises(ValueError, match=r"memory_budget: 300 points.*at least [\d,]+ bytes"):
        fit_gp_iterative(NTK, x, y, noise_std=0.1, memory_budget=50_000)
    with pytest.raises(ValueError, match="lower preconditioner_rank"):
        fit_gp_iterative(NTK, x, y, noise_std=0.1, memory_budget=500_000, preconditioner_rank=200)


def test_tiles_are_the_whole_matrix() -> None:
    """Whatever the side and the storage; products in float64 are exact for the stored tiles."""
    x, _, _ = _data(20)
    v = torch.randn(20, 3, dtype=torch.float64, generator=seeded_generator(1))
    matrix = NTK(x)
    for side in (7, 20):
        for storage in (torch.float64, torch.float32):
            for cache in (0, 800, 10**6):
                tiles = KernelTiles(
                    NTK, x, noise_variance=0.3, side=side, storage=storage, cache_bytes=cache
                )
                rounded = matrix.to(storage).double()
                for _ in range(2):
                    expected = rounded @ v + 0.3 * v
                    torch.testing.assert_close(tiles.times_exactly(v), expected, rtol=0, atol=1e-12)
                    within = 1e-12 if storage == torch.float64 else 1e-4
                    torch.testing.assert_close(tiles.times(v), expected, rtol=0, atol=within)
                assert tiles.kept_bytes <= cache


def test_single_precision_storage_has_double_precision_residuals() -> None:
    """To 1e-10, which products in float32 alone cannot reach; K itself is rounded."""
    x, y, points = _data(400, outputs=2)
    gp = fit_gp_iterative(NTK, x, y, noise_std=0.3, storage=torch.float32, tolerance=1e-10)
    assert gp.solution.converged
    rounded = NTK(x).float().double()
    rounded = (rounded + rounded.T) / 2
    residual = y - (rounded + 0.09 * torch.eye(400, dtype=torch.float64)) @ gp.solution.values
    assert float((residual.norm(dim=0) / y.norm(dim=0)).max()) < 2e-10
    exact = fit_gp(NTK, x, y, noise_std=0.3).posterior(points)
    torch.testing.assert_close(gp.posterior(points).mean, exact.mean, rtol=1e-3, atol=1e-3)


def test_the_preconditioner_saves_iterations() -> None:
    x, y, _ = _data(400)
    counts = []
    for rank in (1, 20, 200):
        gp = fit_gp_iterative(NTK, x, y, noise_std=0.1, preconditioner_rank=rank)
        counts.append(gp.solution.iterations)
    assert counts[0] > 2 * counts[1] > 4 * counts[2]


@given(n=st.integers(2, 60), rank=st.integers(1, 60), seed=st.integers(0, 100))
def test_partial_factors_stay_below_the_kernel(n: int, rank: int, seed: int) -> None:
    """K − FFᵀ is positive semi-definite, and 0 in full rank, equal points or not."""
    generator = seeded_generator(seed)
    x = torch.randn(n, 2, dtype=torch.float64, generator=generator)
    x = torch.cat((x, x[: n // 2]))
    factor = randomly_pivoted_cholesky(
        NTK, x, NTK(x).diagonal(), rank=rank, enough=0.0, generator=generator
    )
    assert factor.shape[1] <= rank
    left = torch.linalg.eigvalsh(NTK(x) - factor @ factor.T)
    assert float(left.min()) > -1e-9
    if rank >= n:
        assert float(left.max()) < 1e-8


def test_the_preconditioner_is_the_inverse_of_what_it_says() -> None:
    generator = seeded_generator(2)
    basis = torch.linalg.qr(torch.randn(9, 4, dtype=torch.float64, generator=generator)).Q
    eigenvalues = torch.tensor([1e6, 10.0, 0.1, 0.0], dtype=torch.float64)
    matrix = basis @ torch.diag(eigenvalues) @ basis.T + 1e-3 * torch.eye(9, dtype=torch.float64)
    found = LowRankPreconditioner(basis=basis, eigenvalues=eigenvalues, noise_variance=1e-3)
    v = torch.randn(9, 2, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(matrix @ found.solve(v), 1e-3 * v, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("storage", [torch.float64, torch.float32])
def test_a_variance_is_never_too_small_and_little_too_large(storage: torch.dtype) -> None:
    """However loose the tolerance: errors e of a solve enter as eᵀ(K + σ²I)e."""
    x, y, points = _data(150)
    loose = fit_gp_iterative(
        NTK, x, y, noise_std=0.3, tolerance=0.03, preconditioner_rank=5, storage=storage
    )
    exact = fit_gp(NTK, x, y, noise_std=0.3).posterior(points)
    over = loose.posterior(points).epistemic_variance - exact.epistemic_variance
    rounded = 1e-10 if storage == torch.float64 else 1e-5
    assert float(over.min()) > -rounded
    assert rounded < float(over.max()) < 0.03 * 0.09  # it did stop early


class _Matrix:
    """A matrix whose fast products are in single precision."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix

    def times(self, v: Tensor) -> Tensor:
        return (self.matrix.float() @ v.float()).double()

    def times_exactly(self, v: Tensor) -> Tensor:
        return self.matrix @ v


def test_columns_stop_each_at_its_tolerance() -> None:
    generator = seeded_generator(3)
    root = torch.randn(40, 40, dtype=torch.float64, generator=generator)
    matrix = root @ root.T + torch.eye(40, dtype=torch.float64)
    b = torch.randn(40, 4, dtype=torch.float64, generator=generator)
    b[:, 2] = 0.0
    asked = torch.tensor([1e-2, 1e-11, 1e-5, 1e-5], dtype=torch.float64)
    found = conjugate_gradients(
        _Matrix(matrix), lambda v: v, b, tolerance=asked, max_iterations=500
    )
    assert found.converged
    true = (b - matrix @ found.values).norm(dim=0) / b.norm(dim=0).clamp(min=1e-9)
    torch.testing.assert_close(found.residuals, true, rtol=1e-2, atol=1e-13)
    assert float(true[0]) > 1e-4  # it did not go on with the others
    assert bool((found.values[:, 2] == 0).all())


def test_what_does_not_converge_is_said_with_numbers() -> None:
    x, y, points = _data()
    with pytest.warns(
        RuntimeWarning, match=r"after 3 iterations .* of \d\.\de.\d\d where 1\.0e-06"
    ):
        gp = fit_gp_iterative(NTK, x, y, noise_std=0.1, max_iterations=3, preconditioner_rank=2)
    assert not gp.solution.converged
    assert gp.solution.residual > 1e-6
    with pytest.warns(RuntimeWarning, match="20 of 20 columns"):
        gp.posterior(points)


@pytest.mark.parametrize("noise", [1e-1, 1e-4, 1e-9])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equal_points_and_tiny_noise_are_solved_or_said(noise: float, dtype: torch.dtype) -> None:
    """The residual is small, or a warning or an error says what to do; never NaN."""
    x, y, _ = _data(100)
    x, y = (torch.cat((v, v, v + 1e-8)).to(dtype) for v in (x, y))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            gp = fit_gp_iterative(NTK, x, y, noise_std=noise, max_iterations=200)
        except ValueError as error:
            assert noise < 1e-1
            assert "not positive definite" in str(error)  # noqa: PT017
            return
    assert bool(gp.solution.values.isfinite().all())
    assert gp.solution.converged or any("relative residual" in str(one.message) for one in said)
    if noise == 1e-1 and dtype == torch.float64:
        assert gp.solution.converged
        assert not said


def test_rounding_that_the_noise_does_not_drown_is_said() -> None:
    x, y, _ = _data(100)
    with pytest.warns(RuntimeWarning, match="storage: rounding changes K"):
        fit_gp_iterative(NTK, x, y, noise_std=3e-3, storage=torch.float32)


def test_the_same_seed_gives_the_same_numbers() -> None:
    x, y, points = _data(100)
    one, two = (fit_gp_iterative(NTK, x, y, noise_std=0.1, seed=4) for _ in range(2))
    assert torch.equal(one.posterior(points).mean, two.posterior(points).mean)


def test_columns_that_are_explained_are_not_chosen_again() -> None:
    """Three points, one of them 200 times: three columns are all that K has."""
    distinct = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
    x = torch.cat((distinct, distinct[:1].expand(199, 1)))
    columns: list[int] = []

    def kernel(x1: Tensor, x2: Tensor | None = None) -> Tensor:
        other = x1 if x2 is None else x2
        columns.append(len(other))
        return torch.exp(-0.5 * torch.cdist(x1, other) ** 2)

    factor = randomly_pivoted_cholesky(
        kernel, x, torch.ones(len(x), dtype=torch.float64), rank=8, enough=1e-9,
        generator=seeded_generator(0),
    )  # fmt: skip
    assert columns == [1, 1, 1]
    torch.testing.assert_close(factor @ factor.T, kernel(x))
