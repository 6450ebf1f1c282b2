"""Tiles, threads, derivatives and precision change nothing but rounding."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bayesnn.kernels import network_kernel, nngp, ntk
from bayesnn.kernels.rules.rule import Hyperparameters
from bayesnn.kernels.state import KernelState
from bayesnn.kernels.tiles import Tiling, spans, tiling, workers
from bayesnn.networks import Erf, NTKConv2d, NTKLinear, Residual, mlp
from bayesnn.seeds import seeded_generator

CPU = torch.device("cpu")


def _dense(activation: nn.Module) -> nn.Module:
    return mlp(in_features=3, out_features=1, width=4, depth=2, activation=activation, bias_std=0.3)


def _residual() -> nn.Module:
    branch = nn.Sequential(NTKLinear(4, 4), nn.ReLU(), NTKLinear(4, 4, bias_std=0.2))
    return nn.Sequential(
        NTKLinear(3, 4), Residual(branch, scale=0.5), nn.LayerNorm(4, elementwise_affine=False),
        Erf(), NTKLinear(4, 1),
    )  # fmt: skip


def _flattened() -> nn.Module:
    return nn.Sequential(
        NTKConv2d(2, 4, kernel_size=3, padding=1, bias_std=0.1), nn.ReLU(),
        NTKConv2d(4, 4, kernel_size=3, stride=2), Erf(),
        nn.Flatten(), NTKLinear(4, 1),
    )  # fmt: skip


def _pooled() -> nn.Module:
    return nn.Sequential(
        NTKConv2d(2, 4, kernel_size=3, padding=1, bias_std=0.1), nn.ReLU(), nn.AvgPool2d(2),
        NTKConv2d(4, 4, kernel_size=2), Erf(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), NTKLinear(4, 1),
    )  # fmt: skip


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "erf": (lambda: _dense(Erf()), (3,)),
    "relu": (lambda: _dense(nn.ReLU()), (3,)),
    "leaky": (lambda: _dense(nn.LeakyReLU(0.1)), (3,)),
    "gelu": (lambda: _dense(nn.GELU()), (3,)),
    "tanh": (lambda: _dense(nn.Tanh()), (3,)),
    "residual": (_residual, (3,)),
    "flattened": (_flattened, (2, 5, 4)),
    "pooled": (_pooled, (2, 6, 4)),
}
networks = pytest.mark.parametrize(("build", "shape"), NETWORKS.values(), ids=NETWORKS)
# what a correlation of 1 that rounding missed by 1e-16 does to an angle, in a few layers
CLOSE = {"rtol": 1e-7, "atol": 1e-7}


def _points(n: int, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(n, *shape, dtype=torch.float64, generator=seeded_generator(seed))


@networks
@pytest.mark.parametrize(
    "plan",
    [Tiling(block=2, tile=1, threads=2), Tiling(block=4, tile=2, threads=1)],
    ids=["threads", "alone"],
)
def test_tiles_and_threads_change_nothing(
    build: Callable[[], nn.Module], shape: tuple[int, ...], plan: Tiling
) -> None:
    network = build()
    x, z = _points(5, shape), _points(3, shape, seed=1)
    for kernel in (nngp(network), ntk(network)):
        whole = kernel(x), kernel(x, z), kernel.diagonal(x)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(network_kernel, "tiling", lambda *_, **__: plan)
            torch.testing.assert_close(kernel(x), whole[0], rtol=1e-10, atol=1e-10)
            torch.testing.assert_close(kernel(x, z), whole[1], rtol=1e-10, atol=1e-10)
            torch.testing.assert_close(kernel.diagonal(x), whole[2], rtol=1e-12, atol=1e-12)
            assert torch.equal(kernel(x), kernel(x).T)
            with torch.inference_mode():
                torch.testing.assert_close(kernel(x), whole[0], rtol=1e-10, atol=1e-10)


@networks
def test_one_matrix_in_all_ways(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    """No x2, x2 = x, one point at a time, with and without derivatives, alone and with the NNGP."""
    network = build()
    x = _points(5, shape)
    copy = x.clone()
    for kernel in (nngp(network), ntk(network)):
        matrix = kernel(x)
        assert torch.equal(kernel(x, x), matrix)
        torch.testing.assert_close(kernel(x, copy), matrix, **CLOSE)
        torch.testing.assert_close(kernel.diagonal(x), matrix.diagonal(), rtol=1e-12, atol=0)
        both = kernel.with_nngp(x)
        assert torch.equal(both[0], matrix)
        assert torch.equal(both[1], nngp(network)(x))
        name = next(iter(kernel.hyperparameters))
        value = torch.tensor(kernel.hyperparameters[name], dtype=torch.float64, requires_grad=True)
        differentiable = kernel.with_hyperparameters({name: value})
        for found, plain in (
            (differentiable(x), matrix),
            (differentiable(x, x[:2]), kernel(x, x[:2])),
            (differentiable.diagonal(x), kernel.diagonal(x)),
        ):
            assert found.requires_grad
            torch.testing.assert_close(found.detach(), plain, **CLOSE)
        with torch.no_grad():
            assert torch.equal(differentiable(x), matrix)


@networks
def test_single_precision(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    x, z = _points(6, shape), _points(5, shape, seed=1)
    for kernel in (nngp(build()), ntk(build())):
        for given_points in ((x,), (x, z)):
            double = kernel(*given_points)
            single = kernel(*(each.float() for each in given_points))
            assert single.dtype == torch.float32
            error = (single.double() - double).norm() / double.norm()
            assert float(error) < 1e-4


def test_forward_derivatives_and_transforms_do_not_leave_their_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = Tiling(block=2, tile=1, threads=2)
    monkeypatch.setattr(network_kernel, "tiling", lambda *_, **__: plan)
    kernel = ntk(_dense(nn.ReLU()))
    x = _points(4, (3,))

    def total(scale: Tensor) -> Tensor:
        return kernel.with_hyperparameters({"0.weight_std": scale})(x).sum()

    scale = torch.tensor(1.2, dtype=torch.float64)
    step = 1e-6
    expected = (total(scale + step) - total(scale - step)) / (2 * step)
    forward = torch.func.jvp(total, (scale,), (torch.ones_like(scale),))[1]
    torch.testing.assert_close(forward, expected, rtol=1e-7, atol=0)
    torch.testing.assert_close(torch.func.grad(total)(scale), expected, rtol=1e-7, atol=0)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(scale, torch.ones_like(scale))
        tangent = torch.autograd.forward_ad.unpack_dual(total(dual)).tangent
    assert tangent is not None
    torch.testing.assert_close(tangent, expected, rtol=1e-7, atol=0)


COMPILED = """
import torch, warnings
from bayesnn.kernels import ntk
from bayesnn.networks import mlp
warnings.simplefilter("error", RuntimeWarning)  # of a compilation that failed
x = torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
for bias_std in (0.1, 0.2, 0.3, 0.4, 0.5):  # more variants than the compiler allows of one function
    sizes = {"in_features": 3, "out_features": 1, "width": 4, "depth": 1}
    net = mlp(**sizes, activation=torch.nn.ReLU(), bias_std=bias_std)
    kernel = ntk(net)
    fused = kernel.compiled()
    for given in ((x,), (x, x[:30] + 1)):
        torch.testing.assert_close(fused(*given), kernel(*given), rtol=1e-7, atol=1e-7)
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_layers_give_the_same_matrix() -> None:
    """In a process of its own, without the checks of shapes, which do not compile."""
    subprocess.run([sys.executable, "-c", COMPILED], check=True)


def test_where_nothing_compiles_the_kernel_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_compiler(*_: object) -> Tensor:
        raise OSError("no compiler")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: no_compiler)
    kernel = ntk(_dense(Erf()))
    fused = kernel.compiled()
    x = _points(4, (3,))
    with pytest.warns(RuntimeWarning, match="OSError: no compiler"):
        assert torch.equal(fused(x), kernel(x))
    assert torch.equal(fused(x), kernel(x))  # without a second warning


class Shapes(nn.Module):
    """Passes covariances on, and notes how large they are and who works on them."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0
        self.threads: set[int] = set()

    def propagate_kernel(self, state: KernelState, _: Hyperparameters) -> KernelState:
        self.largest = max(self.largest, state.nngp.numel())
        self.threads.add(threading.get_ident())
        return replace(state)


@pytest.mark.parametrize("n", [700, 1500])
def test_layers_see_tiles_alone(n: int, two_threads: None) -> None:
    """Beside its result a matrix takes tiles, whose size does not depend on n."""
    shapes = Shapes()
    network = nn.Sequential(NTKLinear(3, 4), shapes, Erf(), NTKLinear(4, 1))
    ntk(network)(_points(n, (3,)))
    assert 2**14 < shapes.largest <= 2**16
    assert len(shapes.threads - {threading.get_ident()}) == 2


def test_sizes_follow_the_points() -> None:
    assert tiling(CPU, 64, pairs=False).tile == 32
    assert tiling(CPU, 10**4, pairs=True).tile == 1
    gpu = tiling(torch.device("cuda"), 1, pairs=False)
    assert gpu.threads == 1
    assert gpu.tile >= 4096
    assert spans(5, 2) == [slice(0, 2), slice(2, 4), slice(4, 5)]


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_threads_work_alone_and_leave_settings_as_they_were(two_threads: None) -> None:
    seen: list[tuple[bool, int]] = []

    def look() -> None:
        seen.append((torch.is_grad_enabled(), torch.get_num_threads()))

    with workers(2) as run:
        run([look] * 5)
    assert seen == [(False, 1)] * 5
    new = threading.Thread(target=look)
    new.start()
    new.join()
    look()
    assert seen[5:] == [(True, 2)] * 2


@pytest.mark.parametrize("threads", [1, 2])
def test_errors_of_jobs_are_raised(threads: int, two_threads: None) -> None:
    def fail() -> None:
        raise ArithmeticError("no")

    with pytest.raises(ArithmeticError, match="no"), workers(threads) as run:
        run([fail, lambda: None])
    assert torch.is_grad_enabled()
