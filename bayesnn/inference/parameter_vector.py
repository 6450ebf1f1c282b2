"""All parameters of a network as one vector, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.inference.mc_dropout import Params


@dataclass(frozen=True)
class ParameterVector:
    """Where each parameter stands in a vector of all of them.

    Attributes:
        shapes: of each parameter, by name, in the vector's order.

    Example:
        >>> layout = ParameterVector.of({"w": torch.ones(2, 3), "b": torch.zeros(2)})
        >>> layout.split(torch.arange(8.0))["b"]
        tensor([6., 7.])
        >>> layout.join(layout.split(torch.arange(8.0)))
        tensor([0., 1., 2., 3., 4., 5., 6., 7.])
    """

    shapes: dict[str, torch.Size]

    @classmethod
    def of(cls, params: Params) -> ParameterVector:
        """Return the layout of such parameters."""
        return cls({name: value.shape for name, value in params.items()})

    def join(self, params: Params) -> Float[Tensor, " n"]:
        """Return the parameters in one vector."""
        return torch.cat([params[name].flatten() for name in self.shapes])

    def split(self, vector: Float[Tensor, " n"]) -> Params:
        """Return the parameters that a vector holds, as views of it."""
        parts = torch.split(vector, [math.prod(shape) for shape in self.shapes.values()])
        return {
            name: part.reshape(shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }
