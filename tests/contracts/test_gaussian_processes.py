"""Laws of every way to condition a Gaussian process, on random data and several kernels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bayesnn.gp import GaussianProcess, IterativeGaussianProcess, Kernel, fit_gp, fit_gp_iterative
from bayesnn.kernels import nngp, ntk
from bayesnn.networks import Erf, convnet, mlp
from bayesnn.seeds import seeded_generator
from tests.reference.erf_kernels import gp_posterior_naive

TOLERANCE = 1e-6


def _rbf(x1: Tensor, x2: Tensor | None = None) -> Tensor:
    return torch.exp(-0.5 * torch.cdist(x1, x1 if x2 is None else x2) ** 2)


def _dense(activation: nn.Module, depth: int) -> nn.Module:
    return mlp(in_features=3, out_features=1, width=4, depth=depth, activation=activation)


def _convolutional() -> nn.Module:
    return convnet(in_channels=1, out_features=1, width=4, depth=2, activation=nn.ReLU())


KERNELS: list[Callable[[], Kernel]] = [
    lambda: _rbf,
    lambda: ntk(_dense(Erf(), 2)),
    lambda: nngp(_dense(nn.ReLU(), 3)),
    lambda: ntk(_convolutional()),
]
Fit = Callable[..., GaussianProcess | IterativeGaussianProcess]
SMALL = 40_000  # bytes: less than K of 40 points takes with its tiles
FITS: list[Fit] = [
    fit_gp,
    partial(fit_gp_iterative, tolerance=TOLERANCE),
    partial(fit_gp_iterative, tolerance=TOLERANCE, memory_budget=SMALL),
    partial(fit_gp_iterative, tolerance=TOLERANCE, preconditioner_rank=3),
]


def _draw(kernel: int, n: int, seed: int, device: str) -> Tensor:
    shape = (1, 4, 4) if kernel == len(KERNELS) - 1 else (3,)
    x = torch.randn(n, *shape, dtype=torch.float64, generator=seeded_generator(seed, n))
    return x.to(device)


@pytest.mark.parametrize("fit", range(len(FITS)))
@settings(max_examples=6)
@given(
    kernel=st.integers(0, len(KERNELS) - 1),
    n=st.integers(1, 40),
    noise=st.floats(0.03, 2.0),
    n_outputs=st.sampled_from([None, 1, 3]),
    seed=st.integers(0, 1000),
)
def test_the_posterior_equals_the_naive_formula(
    device: str, fit: int, kernel: int, n: int, noise: float, n_outputs: int | None, seed: int
) -> None:
    k = KERNELS[kernel]()
    x, points = _draw(kernel, n, seed, device), _draw(kernel, 5, seed + 1, device)
    y = torch.randn(n, *([] if n_outputs is None else [n_outputs]), dtype=torch.float64,
                    generator=seeded_generator(seed)).to(device)  # fmt: skip
    post = FITS[fit](k, x, y, noise_std=noise).posterior(points)
    mean, covariance = gp_posterior_naive(
        k(x).cpu().numpy(), k(points, x).cpu().numpy(), k(points).cpu().numpy(), y.cpu().numpy(),
        noise,
    )  # fmt: skip
    # ‖A⁻¹‖ ≤ 1/σ²: what a residual of TOLERANCE·‖y‖ can do to the mean and the variance
    cross = float(k(points, x).norm(dim=1).max())
    within = TOLERANCE * float(y.norm()) * cross / noise**2 if fit else 0.0
    np.testing.assert_allclose(post.mean.cpu().numpy(), mean, rtol=1e-7, atol=within + 1e-9)
    variance = np.diag(covariance)
    found = post.epistemic_variance.reshape(5, -1)[:, 0].cpu().numpy()
    within = TOLERANCE * noise**2 if fit else 0.0
    np.testing.assert_allclose(found, variance, rtol=1e-7, atol=within + 1e-9)
    np.testing.assert_allclose(post.noise_variance.cpu().numpy(), noise**2)
    assert post.mean.shape == (5, *y.shape[1:])
    assert post.mean.device.type == device
