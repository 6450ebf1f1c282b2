"""A slice as a function of a network's parameters: what all posteriors over networks share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call

from bayesnn.inference.mc_dropout import Params
from bayesnn.seeds import seeded_generator
from ct.inr.coordinates import CoordinateImage, ImageNetwork
from ct.posterior.normalisation import ValueRange, value_range
from ct.problem import Problem


@dataclass(frozen=True, kw_only=True)
class ImageModel:
    """x(θ) = offset + scale · f_θ(pixels), with f in units in which the range is about [0, 1].

    Attributes:
        network: f.
        problem: what was measured, in f's units.
        values: offset and scale.
    """

    network: CoordinateImage
    problem: Problem
    values: ValueRange

    def initial_params(self) -> Params:
        """Return the network's own parameters, without their history."""
        return {name: p.detach().clone() for name, p in self.network.named_parameters()}

    def render(self, params: Params) -> Float[Tensor, "rows columns"]:
        """Return f_θ at all pixels."""
        image: Tensor = functional_call(self.network, params, ())
        return image

    def image(self, params: Params) -> Float[Tensor, "rows columns"]:
        """Return x(θ), in the image's units."""
        return self.values.to_image(self.render(params))

    def misfit(self, image: Float[Tensor, "*batch rows columns"]) -> Float[Tensor, "*batch"]:
        """Return ½ Σ_rays ((A f − y)/σ)² of an image f: the negative log likelihood of Gauss."""
        problem = self.problem
        residual = (problem.projector(image) - problem.sinogram) / problem.noise_std
        return residual.square().sum((-2, -1)) / 2

    def prior_variance(self, precision: float) -> dict[str, float]:
        """Return the variance 1/(τ · fan-in) that a Gaussian prior gives each parameter.

        Args:
            precision: τ.
        """
        fan_in = self.network.prior_fan_in
        return {
            name: 1 / (precision * fan_in.get(name, 1))
            for name, _ in self.network.named_parameters()
        }

    def prior_energy(self, members: Params, precision: float) -> Float[Tensor, " members"]:
        """Return ½ τ Σ_i fan-in_i θ_i² of each of several members.

        Args:
            members: θ of each, stacked.
            precision: τ.
        """
        variance = self.prior_variance(precision)
        squares = [value.flatten(1).square().sum(1) / variance[n] for n, value in members.items()]
        return torch.stack(squares).sum(0) / 2


def image_model(
    problem: Problem, network: ImageNetwork, *, seed: int, place: int = 0
) -> ImageModel:
    """Build a network for a slice, with parameters drawn from a stream of its own.

    Args:
        problem: what was measured, in its own units.
        network: the kind of network.
        seed: seed of the slice.
        place: place of the random stream under the seed.

    Returns:
        The model, on the problem's device and in its dtype.
    """
    values = network_range(problem, network)
    built = network.build(
        problem.grid.shape, start=values.level, generator=seeded_generator(seed, place)
    ).to(problem.sinogram)
    return ImageModel(network=built, problem=values.normalised(problem), values=values)


def network_range(problem: Problem, network: ImageNetwork) -> ValueRange:
    """Return the range that a network's outputs of 0 to 1 stand for.

    Args:
        problem: what was measured.
        network: the kind of network, whose link says whether 0 is the image's zero.

    Returns:
        The range.
    """
    return value_range(problem, lowest=0.0 if network.link.from_zero else None)
