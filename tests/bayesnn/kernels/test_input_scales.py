import numpy as np
import pytest
import torch

from bayesnn.gp.marginal_likelihood import maximise_marginal_likelihood, one_by_one
from bayesnn.kernels import nngp, ntk, with_input_scales
from bayesnn.networks import Erf, FourierFeatures, mlp

SCALES = [2.0, 0.5, 0.1]


def _network(in_features: int = 3):
    return mlp(in_features=in_features, out_features=1, width=4, depth=2, activation=Erf())


def _points(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("of", [ntk, nngp])
def test_it_is_the_kernel_of_scaled_points(of):
    x, z = _points(7), _points(5, seed=1)
    scaled, plain = with_input_scales(of(_network()), SCALES), of(_network())
    scale = torch.tensor(SCALES, dtype=torch.float64)
    torch.testing.assert_close(scaled(x), plain(x * scale))
    torch.testing.assert_close(scaled(x, z), plain(x * scale, z * scale))
    torch.testing.assert_close(scaled.diagonal(x), plain.diagonal(x * scale))


def test_ones_change_nothing():
    x = _points(6)
    torch.testing.assert_close(with_input_scales(ntk(_network()), [1.0] * 3)(x), ntk(_network())(x))


def test_derivatives_in_the_scales_are_finite_differences():
    x = _points(6)
    kernel = with_input_scales(ntk(_network()), SCALES)

    def total(scale):
        return kernel.with_hyperparameters({"1.input_scale": scale})(x).sin().sum()

    at = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(total(at), at)
    with torch.no_grad():
        step = 1e-6
        difference = (total(at + step) - total(at - step)) / (2 * step)
    torch.testing.assert_close(slope, difference, rtol=1e-6, atol=1e-8)


def test_the_marginal_likelihood_rises_and_finds_the_feature_that_matters():
    x = _points(60)
    y = (2 * x[:, 0]).sin() + 0.05 * torch.tensor(
        np.random.default_rng(0).normal(size=60), dtype=torch.float64
    )
    kernel = with_input_scales(ntk(_network()), [1.0] * 3)
    found = maximise_marginal_likelihood(
        kernel, x, y, noise_std=0.3, groups=lambda names: one_by_one(names)[1:]
    )
    together = maximise_marginal_likelihood(ntk(_network()), x, y, noise_std=0.3)
    scales = [float(found.kernel.hyperparameters[f"{j}.input_scale"]) for j in range(3)]
    assert scales[0] > 3 * max(scales[1:])
    assert found.log_marginal_likelihood > together.log_marginal_likelihood + 10


def test_what_has_no_features_of_its_own_is_refused():
    with pytest.raises(ValueError, match="one for each feature"):
        with_input_scales(ntk(_network()), [])
    with pytest.raises(ValueError, match=r"expected \[n, 3\]"):
        with_input_scales(ntk(_network()), SCALES)(torch.zeros(2, 4))
    fourier = torch.nn.Sequential(
        FourierFeatures(2, 8, frequency_std=1.0), *_network(in_features=16)
    )
    with pytest.raises(ValueError, match="takes the features themselves"):
        with_input_scales(ntk(fourier), [1.0, 1.0])
