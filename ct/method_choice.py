"""From a method's name and settings, as a user types them, to the method."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import ct
from bayesnn.inference.hmc import no_u_turn, random_length
from bayesnn.kernels import nngp, ntk
from ct.classical.tv_differences import anisotropic, isotropic
from ct.classical.windows import WINDOWS
from ct.data.shown import shown
from ct.inr.feature_grid import FeatureGrid
from ct.inr.fourier_network import FourierNetwork
from ct.inr.hash_grid import HashGrid
from ct.inr.links import clipped, identity, sigmoid, softplus
from ct.inr.pixel_grid import PixelGrid
from ct.inr.siren import Siren
from ct.inr.wide_network import WideNetwork
from ct.method_names import METHOD_NAMES
from ct.posterior.infinite_width_network import ACTIVATIONS
from ct.problem import Method

Settings: TypeAlias = Mapping[str, Any]
"""Values as a file gave them: anything that JSON or TOML can hold."""

_NAMED: dict[str, dict[str, Any]] = {
    "window": dict(WINDOWS),
    "norm": {norm.__name__: norm for norm in (isotropic, anisotropic)},
    "activation": {function.__name__: function for function in ACTIVATIONS},
    "kernel": {kernel.__name__: kernel for kernel in (nngp, ntk, no_u_turn, random_length)},
    "link": {link.name: link for link in (identity, sigmoid, softplus, clipped)},
}
_NETWORKS: dict[str, Callable[..., Any]] = {
    network().name: network
    for network in (FeatureGrid, FourierNetwork, Siren, HashGrid, PixelGrid, WideNetwork)
}


def choose_method(name: str, settings: Settings | None = None) -> Method:
    """Return the method of that name with those settings.

    A setting is spelled as in a result's metadata: by its name, and the network's own as
    "network.width", those of a method that gives another its image as "mean.weight". A table
    (TOML's [settings.network]) is read as such names; the kind of network or method is its "name".

    Args:
        name: as the command line spells it, such as "mc-dropout".
        settings: values for the method's own arguments, as a configuration file gives them.

    Returns:
        The method.

    Raises:
        ValueError: no such method, no such setting, or a value that the method refuses.

    Example:
        >>> choose_method("fbp", {"window": "ramp"}).settings()
        {'window': 'ramp'}
    """
    functions = {known: known.replace("-", "_") for known in METHOD_NAMES}
    method: Callable[..., Method] = getattr(ct, _one_of(functions, name, "--method"))
    given = _flat(settings or {})
    means = {key: value for key, value in given.items() if key.split(".")[0] == "mean"}
    given = {key: value for key, value in given.items() if key not in means}
    own = {key: value for key, value in given.items() if not _of_network(key)}
    arguments = _checked(own, method, name)
    if "network" in own or len(own) < len(given):
        arguments["network"] = _network(given, method, name)
    if means:
        arguments["mean"] = _mean(means, method, name)
    return method(**arguments)


def _flat(settings: Settings) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            for inner, of_inner in value.items():
                flat[key if inner == "name" else f"{key}.{inner}"] = of_inner
        else:
            flat[key] = value
    return flat


def _network(settings: Settings, method: Callable[..., Method], name: str) -> Any:
    default = method().settings().get("network")
    if default is None:
        raise ValueError(f"{name}: has no network, and so no settings of one.")
    kind = _one_of(_NETWORKS, settings.get("network", default), f"{name}: network")
    inner = {k.removeprefix("network."): v for k, v in settings.items() if _of_network(k)}
    return kind(**_checked(inner, kind, f"{name}: network"))


def _mean(settings: Settings, method: Callable[..., Method], name: str) -> Method:
    default = method().settings().get("mean")
    if default is None:
        raise ValueError(f"{name}: takes no other method's image, and so no settings of one.")
    inner = {k.removeprefix("mean."): v for k, v in settings.items() if k != "mean"}
    kind = settings.get("mean", default)
    _one_of(dict.fromkeys(METHOD_NAMES), kind, f"{name}: mean")
    return choose_method(kind, inner)


def _of_network(key: str) -> bool:
    return key.startswith("network.")


def _one_of(choices: Mapping[str, Any], name: Any, what: str) -> Any:
    if not isinstance(name, str) or name not in choices:
        raise ValueError(f"{what}: expected {' or '.join(choices)}, got {shown(repr(name), 40)}.")
    return choices[name]


def _checked(settings: Settings, target: Callable[..., Any], what: str) -> dict[str, Any]:
    known = inspect.signature(target).parameters
    checked: dict[str, Any] = dict(settings)
    for key, value in settings.items():
        if key not in known:
            raise ValueError(
                f"{what}: no setting is called {shown(key, 40)!r}; its settings are "
                f"{', '.join(known)}."
            )
        default = known[key].default
        if value is None and default is None:
            continue
        if callable(default) or key in _NAMED:
            # a function cannot stand in a file; its name may, where there is a choice
            choices = _NAMED.get(key) or {default.__name__: default}
            checked[key] = _one_of(choices, value, f"{what}: {key}")
        elif isinstance(default, int | float) and not _like(value, default):
            raise ValueError(
                f"{what}: {key}: expected a value like {default!r}, got {shown(repr(value), 40)}."
            )
    return checked


def _like(value: Any, default: float) -> bool:
    if isinstance(value, bool) or isinstance(default, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    return isinstance(value, int) or (isinstance(default, float) and isinstance(value, float))
