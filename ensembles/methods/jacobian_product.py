"""J(x, θ)·v by one forward-mode pass: no Jacobian is formed."""

from __future__ import annotations

from torch import Tensor, nn
from torch.func import functional_call, jvp

from ensembles.methods.protocol import Params


def jacobian_product(network: nn.Module, at: Params, direction: Params, x: Tensor) -> Tensor:
    """Return J(x, θ)·v [n, outputs] of one member, for θ = `at` and v = `direction`."""

    def values(params: Params) -> Tensor:
        result: Tensor = functional_call(network, params, (x,))
        return result

    product: Tensor = jvp(values, (at,), (direction,))[1]
    return product
