"""Our kernels in GPyTorch's models: the same posteriors, and gradients in the prior scales."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesnn.gp import fit_gp, gp_posterior
from bayesnn.interop import gpytorch as bridge
from bayesnn.interop.gpytorch import gpytorch_kernel
from bayesnn.kernels import nngp, ntk
from bayesnn.networks import Erf, convnet, mlp
from bayesnn.seeds import seeded_generator

gpytorch: Any = pytest.importorskip("gpytorch", reason="the extra `gpytorch` is not installed")

NETWORK = mlp(in_features=3, out_features=1, width=4, depth=2, activation=Erf(), bias_std=0.2)
NOISE = 0.3


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=seeded_generator(seed, *shape))


def _model(x: Tensor, y: Tensor, kernel: nn.Module) -> tuple[Any, Any]:
    """Return GPyTorch's exact model with mean 0 and our kernel, and its likelihood."""

    class Model(gpytorch.models.ExactGP):  # type: ignore[misc]
        def __init__(self, likelihood: Any) -> None:
            super().__init__(x, y, likelihood)
            self.mean_module, self.covar_module = gpytorch.means.ZeroMean(), kernel

        def forward(self, points: Tensor) -> Any:
            return gpytorch.distributions.MultivariateNormal(
                self.mean_module(points), self.covar_module(points)
            )

    likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
    likelihood.noise = NOISE**2
    return Model(likelihood).double(), likelihood


@pytest.mark.parametrize("n", [1, 12, 300])
def test_an_exact_model_gives_our_posterior(n: int) -> None:
    x, points = _draw(n, 3), _draw(7, 3, seed=1)
    y = x.sum(1).sin()
    model, _ = _model(x, y, gpytorch_kernel(ntk(NETWORK)).double())
    model.eval()
    with torch.no_grad():
        found = model(points)
    exact = gp_posterior(ntk(NETWORK), x, y, points, noise_std=NOISE)
    torch.testing.assert_close(found.mean, exact.mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.variance, exact.epistemic_variance, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.covariance_matrix, exact.covariance, rtol=1e-6, atol=1e-6)


def test_the_marginal_likelihood_has_our_gradient() -> None:
    x = _draw(12, 3)
    y = x.sum(1).sin()
    kernel = gpytorch_kernel(nngp(NETWORK)).double()
    model, likelihood = _model(x, y, kernel)
    model.train()
    value = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, model)(model(x), y) * 12
    value.backward()
    scales = {
        name: one.detach().squeeze().requires_grad_() for name, one in kernel.scales().items()
    }
    noise = torch.tensor(NOISE, dtype=torch.float64, requires_grad=True)
    ours = fit_gp(
        nngp(NETWORK).with_hyperparameters(scales), x, y, noise_std=noise
    ).log_marginal_likelihood()
    ours.backward()
    torch.testing.assert_close(value.detach(), ours.detach(), rtol=1e-6, atol=1e-6)
    assert len(scales) == 6
    for name, one in scales.items():
        raw = getattr(kernel, "raw_" + name.replace(".", "_"))
        assert one.grad is not None
        # softplus' derivative
        torch.testing.assert_close(
            raw.grad.squeeze(),
            one.grad * torch.sigmoid(raw.detach().squeeze()),
            rtol=1e-6,
            atol=1e-8,
        )


def test_training_moves_the_scales() -> None:
    x = _draw(20, 3)
    y = 5 * x[:, 0]
    kernel = gpytorch_kernel(ntk(NETWORK)).double()
    model, likelihood = _model(x, y, kernel)
    objective = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, model)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    values = []
    for _ in range(15):
        optimiser.zero_grad()
        loss = -objective(model(x), y)
        loss.backward()
        optimiser.step()
        values.append(float(loss.detach()))
    assert values[-1] < values[0] - 0.1
    assert float(kernel.scales()["0.weight_std"].detach()) != pytest.approx(1.5, abs=1e-3)


def test_batches_diagonals_and_pairs() -> None:
    kernel = gpytorch_kernel(ntk(NETWORK)).double()
    x1, x2 = _draw(2, 5, 4, 3), _draw(5, 6, 3, seed=1)
    with torch.no_grad():
        found = kernel(x1, x2).to_dense()
        assert found.shape == (2, 5, 4, 6)
        for i in range(2):
            for j in range(5):
                torch.testing.assert_close(found[i, j], ntk(NETWORK)(x1[i, j], x2[j]))
        own = kernel(x1, diag=True)
        torch.testing.assert_close(own, kernel(x1).to_dense().diagonal(dim1=-2, dim2=-1))
        many, others = _draw(150, 3), _draw(150, 3, seed=2)
        pairs = kernel(many, others, diag=True)
        torch.testing.assert_close(pairs, ntk(NETWORK)(many, others).diagonal())


def test_a_batch_of_scales() -> None:
    kernel = gpytorch_kernel(ntk(NETWORK), batch_shape=torch.Size([2])).double()
    with torch.no_grad():
        kernel.raw_0_weight_std[1] += 1.0
        x = _draw(4, 3)
        found = kernel(x).to_dense()
    assert found.shape == (2, 4, 4)
    torch.testing.assert_close(found[0], ntk(NETWORK)(x))
    moved = ntk(NETWORK).with_hyperparameters({
        "0.weight_std": float(kernel.scales()["0.weight_std"][1].detach())
    })
    torch.testing.assert_close(found[1], moved(x))


def test_images_and_active_dimensions() -> None:
    network = convnet(in_channels=1, out_features=1, width=4, depth=1, activation=nn.ReLU())
    images = _draw(5, 1, 4, 4)
    kernel = gpytorch_kernel(ntk(network), input_shape=(1, 4, 4)).double()
    few = gpytorch_kernel(ntk(NETWORK), active_dims=(0, 2, 3)).double()
    with torch.no_grad():
        torch.testing.assert_close(kernel(images.flatten(1)).to_dense(), ntk(network)(images))
        x = _draw(4, 5)
        torch.testing.assert_close(few(x).to_dense(), ntk(NETWORK)(x[:, [0, 2, 3]]))
        scaled = gpytorch.kernels.ScaleKernel(few).double()
        scaled.outputscale = 2.0
        torch.testing.assert_close(scaled(x).to_dense(), 2 * few(x).to_dense())


def test_scales_of_zero_stay() -> None:
    plain = mlp(in_features=3, out_features=1, width=4, depth=1, activation=Erf(), bias_std=0.0)
    kernel = gpytorch_kernel(ntk(plain)).double()
    assert set(kernel.scales()) == {"0.weight_std", "2.weight_std"}
    x = _draw(4, 3)
    torch.testing.assert_close(kernel(x).to_dense().detach(), ntk(plain)(x))


def test_what_is_not_offered_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = gpytorch_kernel(ntk(NETWORK)).double()
    with pytest.raises(ValueError, match="last_dim_is_batch"):
        kernel.forward(_draw(4, 3), _draw(4, 3), last_dim_is_batch=True)
    bridge._kernel_class.cache_clear()
    monkeypatch.setitem(sys.modules, "gpytorch", None)
    with pytest.raises(ImportError, match=r"bayesnn\[gpytorch\]"):
        gpytorch_kernel(ntk(NETWORK))
    importlib.invalidate_caches()
