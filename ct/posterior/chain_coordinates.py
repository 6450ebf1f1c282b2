"""The coordinates in which Markov chains move: all of about the same scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from bayesnn.inference.mc_dropout import Params
from bayesnn.inference.parameter_vector import ParameterVector
from ct.classical.primal_dual_metric import apply_filter, fourier_metric
from ct.inr.pixel_grid import PixelGridImage
from ct.posterior.image_model import ImageModel

_PIXELS = "pixels"


@dataclass(frozen=True, kw_only=True)
class Coordinates:
    """A fixed linear change of variables, θ = L u, which changes no posterior.

    Chains move in float64, whatever the image is computed in: their energies are large sums whose
    differences decide.

    Attributes:
        params: from u to θ, in the problem's dtype; differentiable.
        vector: from θ to u.
        start_std: spread of u around the fit, from which different chains begin.
    """

    params: Callable[[Float64[Tensor, " n"]], Params]
    vector: Callable[[Params], Float64[Tensor, " n"]]
    start_std: float


def chain_coordinates(model: ImageModel, *, precision: float, tv_weight: float) -> Coordinates:
    """Return coordinates for a network, or better ones for a grid of pixels.

    Args:
        model: the image as a function of θ.
        precision: τ of the prior.
        tv_weight: w of total variation.

    Returns:
        `spectral_coordinates` for pixels, `prior_coordinates` for all else.
    """
    if isinstance(model.network, PixelGridImage):
        return spectral_coordinates(model, precision=precision, tv_weight=tv_weight)
    return prior_coordinates(model, precision=precision)


def prior_coordinates(model: ImageModel, *, precision: float) -> Coordinates:
    """Return coordinates in units of the prior's standard deviation.

    Args:
        model: the image as a function of θ.
        precision: τ of the prior.
    """
    params = model.initial_params()
    layout = ParameterVector.of(params)
    variance = model.prior_variance(precision)
    std = layout.join({
        name: torch.full_like(value, variance[name] ** 0.5, dtype=torch.float64)
        for name, value in params.items()
    })
    dtype = model.problem.sinogram.dtype
    return Coordinates(
        params=lambda u: layout.split((std * u).to(dtype)),
        vector=lambda params: layout.join(params).double() / std,
        start_std=0.0,  # chains differ by their fits, from initial parameters of their own
    )


def spectral_coordinates(model: ImageModel, *, precision: float, tv_weight: float) -> Coordinates:
    """Return coordinates in which a grid of pixels has about the same spread at all frequencies.

    u is θ filtered by the root of w̄·m(ω) + τ + λ²/3·d(ω): m bounds AᵀA, w̄ is the mean precision of
    the rays, and d is that of differences, which total variation of weight λ gives the variance of
    a Laplace distribution's middle. Low frequencies are seen by every view, high ones by few, so
    in plain pixels a chain would take steps for the lowest and never reach across the highest.

    Args:
        model: the image as a function of the pixels.
        precision: τ of the prior.
        tv_weight: λ of total variation.

    Source:
        The filter is that of `ct.classical.primal_dual_metric`.
    """
    problem = model.problem
    metric = fourier_metric(problem.projector, problem.grid, problem.scan, problem.sinogram)
    rays = float(problem.noise_std.double().square().reciprocal().mean())
    curvature = rays * metric.projection.double() + precision
    root = (curvature + tv_weight**2 / 3 * metric.difference.double()).sqrt()
    inverse = root.reciprocal().to(problem.sinogram)
    shape = problem.grid.shape

    def params(u: Float64[Tensor, " n"]) -> Params:
        return {_PIXELS: apply_filter(u.to(problem.sinogram).reshape(shape), inverse)}

    return Coordinates(
        params=params,
        vector=lambda params: apply_filter(params[_PIXELS].double(), root).flatten(),
        start_std=1.0,
    )
