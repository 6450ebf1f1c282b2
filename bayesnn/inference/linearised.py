"""A model's Jacobian as a linear map on flat parameter vectors, without the matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jvp, vjp, vmap

from bayesnn.inference.mc_dropout import Params
from bayesnn.inference.parameter_vector import ParameterVector

Outputs: TypeAlias = Float[Tensor, "batch *out"]


class Linearised:
    """f(θ) ≈ f(θ̂) + J(θ − θ̂): J by forward mode, Jᵀ by reverse mode, over a leading dimension.

    Args:
        function: f, from parameters by name to a tensor, without randomness.
        params: θ̂.

    Attributes:
        layout: where each parameter stands in a vector.
        at: θ̂ as one vector.
        output: f(θ̂).

    Example:
        >>> params = {"slope": torch.tensor([2.0]), "level": torch.tensor([1.0])}
        >>> x = torch.tensor([0.0, 1.0, 2.0])
        >>> model = Linearised(lambda p: p["slope"] ** 2 * x + p["level"], params)
        >>> model.output, model(torch.tensor([[1.0, 0.0]]))
        (tensor([1., 5., 9.]), tensor([[0., 4., 8.]]))
        >>> model.adjoint(torch.ones(1, 3))
        tensor([[12.,  3.]])
    """

    def __init__(self, function: Callable[[Params], Tensor], params: Params) -> None:
        self.layout = ParameterVector.of(params)
        self.at: Float[Tensor, " n"] = self.layout.join(params).detach()
        self._function = lambda vector: function(self.layout.split(vector))
        with torch.enable_grad():
            pulled: tuple[Tensor, Callable[[Tensor], tuple[Tensor]]]
            pulled = vjp(self._function, self.at)  # type: ignore[assignment]
        self._pull = pulled[1]
        self.output: Float[Tensor, "*out"] = pulled[0].detach()

    def __call__(self, tangents: Float[Tensor, "batch n"]) -> Outputs:
        """Return J v of each v."""

        def one(tangent: Tensor) -> Tensor:
            moved: Tensor = jvp(self._function, (self.at,), (tangent,))[1]
            return moved

        return vmap(one)(tangents).detach()

    def adjoint(self, cotangents: Outputs) -> Float[Tensor, "batch n"]:
        """Return Jᵀ u of each u."""
        pulled: Tensor = vmap(lambda one: self._pull(one)[0])(cotangents)
        return pulled.detach()
