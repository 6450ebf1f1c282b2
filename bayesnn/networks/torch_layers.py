"""The spread of the parameters of torch.nn's layers as torch initialises them.

Each rule is the variance of what the layer's `reset_parameters` draws: most layers draw uniformly
between ±1/√fan_in, which has the variance 1/(3·fan_in).
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.modules.rnn import RNNCellBase
from torch.nn.parameter import is_lazy

CONSTANT = 0.0
ScaleOrShift = nn.LayerNorm | nn.RMSNorm | nn.GroupNorm | _InstanceNorm | nn.PReLU


def initial_variances(module: nn.Module) -> dict[str, float] | None:
    """Return the variance with which torch initialises a layer's parameters.

    Args:
        module: any module.

    Returns:
        Variances by the parameters' names, as seen from the module; 0 for what starts at a
        constant. None for a module that has no rule here. A layer's rule may reach into its
        children, whose own rules it then overrides.

    Raises:
        ValueError: batch normalisation, which makes the value at one point depend on the others,
            or parameters that have no shape yet.

    Example:
        >>> initial_variances(nn.Linear(3, 2))
        {'weight': 0.111..., 'bias': 0.111...}
        >>> initial_variances(nn.LayerNorm(2))
        {'weight': 0.0, 'bias': 0.0}
    """
    if isinstance(module, _BatchNorm):
        raise ValueError(
            f"network: {type(module).__name__} makes the value at one point depend on the other "
            "points of the batch, so members are no functions of x; use torch.nn.LayerNorm or "
            "GroupNorm in its place."
        )
    if any(is_lazy(p) for p in module.parameters(recurse=False)):
        raise ValueError(
            f"network: {type(module).__name__} has parameters without a shape; call the network "
            "once on some x first."
        )
    if isinstance(module, nn.Linear | _ConvNd):
        # of a transposed convolution too, whose weight is [in, out, ...]: so torch counts
        return _uniform(module, math.prod(module.weight.shape[1:]))
    if isinstance(module, nn.Bilinear):
        return _uniform(module, module.in1_features)
    if isinstance(module, nn.RNNBase | RNNCellBase):
        return _uniform(module, module.hidden_size)
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return {"weight": 1.0}
    if isinstance(module, ScaleOrShift):
        return dict.fromkeys(_own(module), CONSTANT)
    if isinstance(module, nn.MultiheadAttention):
        return _attention(module)
    if isinstance(module, nn.Transformer):  # it draws all matrices of its layers anew
        return {name: _xavier(p) for name, p in module.named_parameters() if p.ndim > 1}
    return None


def _own(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_parameters(recurse=False)]


def _uniform(module: nn.Module, fan_in: int) -> dict[str, float]:
    return dict.fromkeys(_own(module), 1 / (3 * fan_in))


def _xavier(weight: Tensor) -> float:
    receptive = math.prod(weight.shape[2:])
    return 2 / (receptive * (weight.shape[0] + weight.shape[1]))


def _attention(module: nn.MultiheadAttention) -> dict[str, float]:
    own = {
        name: _xavier(p) if p.ndim > 1 else CONSTANT
        for name, p in module.named_parameters(recurse=False)
    }
    return own | {"out_proj.bias": CONSTANT}
