"""A prior scale for each feature of the input, as in automatic relevance determination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from bayesnn.kernels.network_kernel import NetworkKernel
from bayesnn.kernels.rules.inputs import Products, raw_inputs
from bayesnn.kernels.rules.rule import Hyperparameters

KIND = "input_scale"


def with_input_scales(kernel: NetworkKernel, scales: Sequence[float]) -> NetworkKernel:
    """Return k(s ⊙ x, s ⊙ x'): the first layer's weights from feature j have prior std s_j·s_w.

    The scales join the kernel's hyperparameters as "0.input_scale", "1.input_scale", …, so the
    marginal likelihood can choose one for each feature (`groups=one_by_one`); a feature that does
    not matter gets a small one (automatic relevance determination; Neal, 1996). The network that
    belongs to the kernel is the same network, shown s ⊙ x.

    Args:
        kernel: of a network that takes vectors, without features of its own before its layers.
        scales: s, one a feature.

    Returns:
        The kernel.

    Raises:
        ValueError: no scales, or a network whose inputs pass through features or positions first.

    Example:
        >>> import torch
        >>> from bayesnn.kernels import ntk
        >>> from bayesnn.networks import Erf, mlp
        >>> net = mlp(in_features=2, out_features=1, width=8, depth=2, activation=Erf())
        >>> x = torch.eye(2)
        >>> scaled = with_input_scales(ntk(net), [2.0, 0.5])
        >>> torch.allclose(scaled(x), ntk(net)(x * torch.tensor([2.0, 0.5])))
        True
    """
    if len(scales) == 0:
        raise ValueError("scales: expected one for each feature, got none.")
    if kernel.features or kernel.pairs or kernel.inputs[0] is not raw_inputs:
        raise ValueError(
            "kernel: expected one of a network whose first layer takes the features themselves; "
            "input scales are not for Fourier features, images or sequences."
        )
    names = {str(j): f"{j}.{KIND}" for j in range(len(scales))}
    return replace(
        kernel,
        inputs=(_scaled_inputs, names),
        hyperparameters={
            **kernel.hyperparameters,
            **{names[str(j)]: float(scale) for j, scale in enumerate(scales)},
        },
    )


def _scaled_inputs(x1: Tensor, x2: Tensor, pairs: bool, scales: Hyperparameters) -> Products:
    if x1.ndim != 2 or x1.shape[1] != len(scales):
        raise ValueError(
            f"x: expected [n, {len(scales)}], one feature for each input scale, got shape "
            f"{tuple(x1.shape)}."
        )
    first = x1 * _vector(scales, x1)
    return raw_inputs(first, first if x2 is x1 else x2 * _vector(scales, x2), pairs, {})


def _vector(scales: Hyperparameters, like: Tensor) -> Tensor:
    # entry by entry, as each may carry a gradient
    return torch.cat([like.new_ones(1) * scales[str(j)] for j in range(len(scales))])
