"""A slice as a function of a network's parameters: what all posteriors over networks share."""

from __future__ import annotations

from dataclasses import dataclass

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
    values = value_range(problem)
    built = network.build(
        problem.grid.shape, start=values.level, generator=seeded_generator(seed, place)
    ).to(problem.sinogram)
    return ImageModel(network=built, problem=values.normalised(problem), values=values)
