"""What the Laplace posterior is made of: prior, rays and total variation, each once."""

import pytest
import torch

from ct.checkpoint import Forgetful
from ct.inr.feature_grid import FeatureGrid
from ct.posterior import laplace_fit
from ct.posterior.image_curvature import RayCurvature, VariationCurvature
from ct.posterior.image_model import image_model
from ct.posterior.laplace_fit import LaplaceModel, fit_laplace
from tests.reference.gaussian_scan import GaussianScan

TV_WEIGHT = torch.tensor(20.0, dtype=torch.float64)


@pytest.fixture(scope="module")
def model() -> LaplaceModel:
    network = FeatureGrid(coarsest=5, channels=3, width=8)
    image = image_model(GaussianScan().problem, network, seed=0)
    return LaplaceModel(image=image, tv_weight=TV_WEIGHT, rank=0, max_iterations=5, seed=0)


def test_the_posteriors_precision_is_that_of_the_prior_the_rays_and_total_variation(model):
    params = model.image.initial_params()
    fit = fit_laplace(model, params, prior_precision=7.0, tolerance=0.1, checkpoint=Forgetful())
    linear, problem = model.linearised(params), model.image.problem
    rays = RayCurvature(projector=problem.projector, noise_std=problem.noise_std)
    variation = VariationCurvature.near(linear.output, TV_WEIGHT)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(3, linear.at.numel(), generator=generator, dtype=torch.float64)
    images = linear(vectors)
    expected = 7 * model.fan_in(linear) * vectors + linear.adjoint(rays(images) + variation(images))
    assert torch.allclose(fit.posterior.apply(vectors), expected)


def test_the_likeliest_precision_is_looked_for_with_the_gradient_of_all_but_that_prior(
    model, monkeypatch
):
    seen = []

    def recorded(posteriors, gradient, **settings):
        seen.append(gradient)
        return 1.0

    monkeypatch.setattr(laplace_fit, "likeliest_prior_precision", recorded)
    linear = model.linearised(model.image.initial_params())
    model.likeliest_precision(linear)
    image = linear.output.clone().requires_grad_()
    (of_rays,) = torch.autograd.grad(model.image.misfit(image), image)
    (variation,) = model.variation(linear)
    assert torch.allclose(seen[0], of_rays + variation(linear.output[None])[0])
