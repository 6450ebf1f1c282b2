"""A network as the steps of its kernels: a rule for each layer, and its prior scales by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from torch import Tensor, nn

from bayesnn.kernels.rules.residual import residual_rule
from bayesnn.kernels.rules.rule import Rule
from bayesnn.kernels.rules.table import hyperparameters_of, rule_of
from bayesnn.kernels.state import KernelState
from bayesnn.networks import Residual

Step = tuple[Rule, dict[str, str]]  # and the prior scales it needs, by their names in the network


def run_steps(
    steps: tuple[Step, ...], state: KernelState, hyperparameters: Mapping[str, Tensor | float]
) -> KernelState:
    """Return the state after the steps."""
    for rule, names in steps:
        state = rule(state, {key: hyperparameters[name] for key, name in names.items()})
        if state.trail is not None:
            state = state.trail.after_step(state)
    return state


def steps_of(
    leaves: Iterable[tuple[str, nn.Module]], hyperparameters: dict[str, Tensor | float]
) -> tuple[Step, ...]:
    """Return the layers' steps, and add their prior scales to the dictionary."""
    steps: list[Step] = []
    for name, module in leaves:
        prefix = f"{name}." if name else ""
        if isinstance(module, Residual):
            inner: dict[str, Tensor | float] = {}
            branch = steps_of(leaves_of(module.branch, f"{prefix}branch"), inner)
            rule = residual_rule(partial(run_steps, branch), module.scale)
            names = {key: key for key in inner}
            hyperparameters |= inner
        else:
            found = rule_of(module)
            if found is None:
                raise ValueError(
                    f"network: {type(module).__name__} ({name or 'the network'}) has no kernel "
                    "rule; build the network from bayesnn.networks, or give the module a method "
                    "propagate_kernel(state, hyperparameters)."
                )
            rule = found
            names = named_scales(name, module, hyperparameters)
        steps.append((rule, names))
    return tuple(steps)


def named_scales(
    name: str, module: nn.Module, hyperparameters: dict[str, Tensor | float]
) -> dict[str, str]:
    """Return the names of a layer's prior scales, and add their values to the dictionary."""
    own = hyperparameters_of(module)
    names = {key: f"{name}.{key}" if name else key for key in own}
    hyperparameters |= {names[key]: value for key, value in own.items()}
    return names


def check_weights_are_not_shared(network: nn.Module) -> None:
    """Raise a ValueError where two places of the network share a parameter."""
    names = [name for name, _ in network.named_parameters(remove_duplicate=False)]
    unique = {name for name, _ in network.named_parameters()}
    shared = [name for name in names if name not in unique]
    if shared:
        raise ValueError(
            f"network: {shared[0]} shares its values with another place of the network; kernels "
            "of infinite width are for layers whose weights are independent."
        )


def leaves_of(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers in the order of running, and their names."""
    if type(module) is nn.Sequential:
        # not named_children, which leaves out a module's second appearance
        for key, child in module._modules.items():
            if child is not None:
                yield from leaves_of(child, f"{name}.{key}" if name else key)
    else:
        yield name, module
