"""What layers and initial values say of the prior of every parameter, and names for them."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor, nn

from bayesnn.networks.layers import HasPrior
from bayesnn.networks.torch_layers import initial_variances


def layer_precisions(network: nn.Module) -> dict[str, float | None]:
    """Return the precision that the layers and initial values of trainable parameters imply.

    Args:
        network: any module.

    Returns:
        By name: infinity for what torch starts at a constant; None for a parameter of no known
        layer whose values are all equal.

    Raises:
        ValueError: batch normalisation, or a parameter that has no shape yet.
    """
    found: dict[int, float | None] = {}
    for module in network.modules():
        for name, value in _rules(module).items():
            # a parent speaks before its children, and the first owner of a shared parameter
            found.setdefault(id(module.get_parameter(name)), value)
    return {name: found[id(parameter)] for name, parameter in trainable(network)}


def trainable(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the trainable parameters, each once, by name."""
    yield from ((name, p) for name, p in network.named_parameters() if p.requires_grad)


def names_below(network: nn.Module, name: str) -> tuple[str, ...]:
    """Return the parameters that the name of a module or of a parameter stands for."""
    first_name = {id(p): key for key, p in network.named_parameters()}
    below = [
        first_name[id(p)]
        for key, p in network.named_parameters(remove_duplicate=False)
        if name in {"", key} or key.startswith(f"{name}.")
    ]
    return tuple(dict.fromkeys(below))


def _rules(module: nn.Module) -> dict[str, float | None]:
    variances = initial_variances(module)
    own = [(name, p) for name, p in module.named_parameters(recurse=False) if p.requires_grad]
    if isinstance(module, HasPrior):
        rules: dict[str, float | None] = dict(module.own_prior_precision())
    elif variances is not None:
        rules = {name: 1 / value if value > 0 else math.inf for name, value in variances.items()}
    else:
        rules = {}
    missing = {name: _from_values(p) for name, p in own if name not in rules}
    present = {name for name, _ in module.named_parameters()}
    return missing | {name: value for name, value in rules.items() if name in present}


def _from_values(parameter: Tensor) -> float | None:
    values = parameter.detach().double()
    if values.numel() == 0 or bool((values == values.flatten()[0]).all()):
        return None
    return 1 / float(values.square().mean())
