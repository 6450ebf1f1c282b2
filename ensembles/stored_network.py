"""The network in a file: what it is made of, its constants, and the prior that it carries."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from bayesnn.networks import build, describe
from bayesnn.networks.declaration import Declaration, declaration, declare
from bayesnn.networks.described_size import largest_parameter
from ensembles.plain_data import decode, encode


def encode_network(network: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Return what JSON can hold of a network; its constants go into `tensors`.

    Args:
        network: the network.
        tensors: where buffers and frozen parameters are put.

    Returns:
        Its description (None where whoever loads it must bring it) and its declared prior.
    """
    tensors |= {f"network/{name}": value for name, value in _constants(network).items()}
    declared = declaration(network)
    prior = None
    if declared is not None:
        fields = {name: getattr(declared, name) for name in ("precision", "mean")}
        prior = {
            "held": list(declared.held),
            "readout": declared.readout,
            "values": encode(fields, "prior", tensors),
        }
    return {
        "type": type(network).__name__,
        "description": _description(network),
        "prior": prior,
    }


def decode_network(
    plain: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    params: Mapping[str, Tensor],
    given: nn.Module | None,
) -> nn.Module:
    """Return the network that was saved, ready for functional calls.

    Args:
        plain: from `encode_network`.
        tensors: those of the file.
        params: the members' parameters, stacked.
        given: the network that the user brings, if any; it is copied.

    Raises:
        ValueError: the network is needed and not given, or is not the one that was fitted.
    """
    description = plain["description"]
    if given is None and description is None:
        raise ValueError(
            f"the network, a {plain['type']}, has modules that a file cannot describe; "
            "load it with network=, the network that was fitted."
        )
    if given is None:
        _check_size(description, tensors)
    network = build(description) if given is None else copy.deepcopy(given)
    if plain["prior"] is not None:
        _declare(network, plain["prior"], tensors)
    constants = {
        name.removeprefix("network/"): value
        for name, value in tensors.items()
        if name.startswith("network/")
    }
    _check_same(network, params, constants)
    if given is not None and description is not None and _description(network) != description:
        raise ValueError(
            "network: expected the one that was fitted, got one with other layers or settings; "
            "leave network out, the file describes it."
        )
    network = network.to(dtype=next(iter(params.values())).dtype)
    frozen = {name for name, _ in network.named_parameters()}
    for name, value in constants.items():
        owner, _, own_name = name.rpartition(".")
        # not load_state_dict, which leaves buffers out that are not persistent
        held = nn.Parameter(value, requires_grad=False) if name in frozen else value
        setattr(network.get_submodule(owner), own_name, held)
    return network.eval()


def _check_size(description: Any, tensors: Mapping[str, Tensor]) -> None:
    claimed = largest_parameter(description)
    held = max((value.numel() for value in tensors.values()), default=0)
    if claimed > held:
        raise ValueError(
            f"network: expected the one that was fitted, got a description with {claimed:.6g} "
            f"values in one parameter, where the file holds {held} at most; it is damaged."
        )


def _declare(network: nn.Module, prior: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    names = {name for name, _ in network.named_parameters()}
    held = tuple(prior["held"])
    if not names.issuperset(held):
        raise ValueError(
            f"network: expected the one that was fitted, with the parameters {', '.join(held)}."
        )
    values = decode(prior["values"], tensors)
    declared = Declaration(
        precision=values["precision"], mean=values["mean"], held=held, readout=prior["readout"]
    )
    declare(network, declared)


def _check_same(
    network: nn.Module, params: Mapping[str, Tensor], constants: Mapping[str, Tensor]
) -> None:
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    wanted = {name: tuple(value.shape[1:]) for name, value in params.items()}
    wanted |= {name: tuple(value.shape) for name, value in constants.items()}
    found = {name: tuple(v.shape) for name, v in (trained | _constants(network)).items()}
    differing = sorted(k for k in wanted | found if wanted.get(k) != found.get(k))
    if differing:
        name = differing[0]
        raise ValueError(
            f"network: expected the one that was fitted, with {name!r} of shape "
            f"{wanted.get(name, 'none')}, got {found.get(name, 'none')}."
        )


def _constants(network: nn.Module) -> dict[str, Tensor]:
    """Return what is not trained: buffers and frozen parameters."""
    frozen = {name: p for name, p in network.named_parameters() if not p.requires_grad}
    return frozen | dict(network.named_buffers())


def _description(network: nn.Module) -> dict[str, Any] | None:
    try:
        return describe(network)
    except ValueError:
        return None
