"""A prior and a read-out that travel with a network."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bayesnn.networks.layer_precision import layer_precisions, names_below, trainable
from bayesnn.networks.plain_layers import use_plain_attention, use_plain_recurrence

Precision = float | Tensor
_ATTRIBUTE = "_bayesnn_declaration"


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What `with_prior` fixes.

    Attributes:
        precision: one over the prior variance, of every trainable parameter.
        mean: the prior mean of those that do not have mean 0.
        held: the parameters that start at a constant and are held there.
        readout: the read-out's module or parameter; None where it is to be found.
    """

    precision: Mapping[str, Precision]
    mean: Mapping[str, Tensor]
    held: tuple[str, ...]
    readout: str | None


def with_prior(
    network: nn.Module,
    *,
    precision: Mapping[str, float | Tensor] | None = None,
    readout: str | None = None,
) -> nn.Module:
    """Return a copy of a network, in evaluation mode, that carries its prior and its read-out.

    The prior of each parameter is Gaussian. In this order, its precision is

    - what `precision` says of it;
    - what its layer's `own_prior_precision()` says (this package's layers have one);
    - one over the variance with which torch initialises the layer, for those of torch.nn;
    - one over the mean square of its own values, for a parameter that belongs to no such layer.

    The mean is 0. Parameters that start at a constant (scales and shifts of LayerNorm and
    GroupNorm, the slope of PReLU, biases of attention) have no spread: the copy holds them fixed,
    unless `precision` names them; then the mean is the constant. Parameters that are shared by
    several layers have the prior of the first. Attention runs by plain matrix products, which have
    all derivatives.

    Args:
        network: any module without batch normalisation. It may carry a prior already, which holds
            where nothing else is said.
        precision: one over the prior variance, a number or a tensor of the parameter's shape, by
            parameter or by module; a module's name stands for all parameters below it, and the
            longest name wins.
        readout: the module, or the parameter, in which the output is linear; by default it is
            found where a method needs it.

    Returns:
        The copy. Its buffers and fixed parameters are constants of the network.

    Raises:
        ValueError: a name that the network does not have, a precision that is not positive and
            finite or does not have the parameter's shape, batch normalisation, a parameter that
            no rule gives a prior, or one that has no shape yet.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 1))
        >>> copy = with_prior(network, precision={"3.bias": 100.0}, readout="3")
        >>> [name for name, p in copy.named_parameters() if p.requires_grad]
        ['0.weight', '0.bias', '3.weight', '3.bias']
    """
    layer_precisions(network)  # refuses what can have no prior, and sometimes no copy
    network = copy.deepcopy(network).eval()
    use_plain_attention(network)
    use_plain_recurrence(network)
    earlier = declaration(network) or Declaration(precision={}, mean={}, held=(), readout=None)
    given = _given(network, precision or {})
    if readout is not None and not names_below(network, readout):
        raise ValueError(
            f"readout: expected the name of a module or parameter, got {readout!r}; the network "
            f"has {_some_names(network)}."
        )
    _set_trained(network, [name for name in earlier.held if name in given], trained=True)
    derived = layer_precisions(network)
    known: dict[str, float | Tensor] = {}
    held = set(earlier.held).difference(given)
    for name, rule in derived.items():
        value = given.get(name, earlier.precision.get(name, rule))
        if value is None:
            raise ValueError(unknown_prior(name))
        if isinstance(value, float) and math.isinf(value):
            held.add(name)
        else:
            known[name] = value
    _set_trained(network, held, trained=False)
    constants = {name for name in known if derived[name] in {None, math.inf}}
    means = {name: p.detach().clone() for name, p in trainable(network) if name in constants}
    declared = Declaration(
        precision=known,
        mean=means | {name: mean for name, mean in earlier.mean.items() if name in constants},
        held=tuple(sorted(held)),
        readout=earlier.readout if readout is None else readout,
    )
    declare(network, declared)
    return network


def declare(network: nn.Module, declared: Declaration) -> None:
    """Let a network carry a declaration, and hold fixed the parameters that it holds."""
    _set_trained(network, declared.held, trained=False)
    setattr(network, _ATTRIBUTE, declared)


def declaration(network: nn.Module) -> Declaration | None:
    """Return what `with_prior` has declared of this very module; None if nothing."""
    found: Declaration | None = getattr(network, _ATTRIBUTE, None)
    return found


def unknown_prior(name: str) -> str:
    """Return what to tell a user of a parameter without a prior."""
    return (
        f"network: the prior of {name!r} is unknown: all its values are equal, and it belongs to "
        "no layer whose initialisation is known. Give its precision, one over its prior variance, "
        f"by precision={{{name!r}: ...}} of bayesnn.networks.with_prior (an estimator's "
        "prior_precision), give its module a method own_prior_precision(), or freeze it with "
        "requires_grad_(False)."
    )


def _given(network: nn.Module, precision: Mapping[str, Precision]) -> dict[str, Precision]:
    """Return what the user says of each parameter; the longest name wins."""
    parameters = dict(network.named_parameters())
    given: dict[str, Precision] = {}
    for key in sorted(precision, key=len):
        below = names_below(network, key)
        if not below:
            raise ValueError(
                f"precision: expected names of modules or parameters, got {key!r}; the network has "
                f"{_some_names(network)}."
            )
        given |= {name: _checked(precision[key], key, parameters[name]) for name in below}
    return given


def _checked(value: Precision, key: str, parameter: Tensor) -> Precision:
    tensor = torch.as_tensor(value, dtype=torch.float64)
    if not bool((torch.isfinite(tensor) & (tensor > 0)).all()):
        raise ValueError(
            f"precision: expected finite numbers above 0 for {key!r}, got {value!r:.200}; it is "
            "one over the prior variance."
        )
    if tensor.ndim > 0 and tensor.shape != parameter.shape:
        raise ValueError(
            f"precision: expected a number or the shape {tuple(parameter.shape)} for {key!r}, got "
            f"the shape {tuple(tensor.shape)}."
        )
    return float(tensor) if tensor.ndim == 0 else tensor


def _set_trained(network: nn.Module, names: Collection[str], *, trained: bool) -> None:
    for name, parameter in network.named_parameters():
        if name in names:
            parameter.requires_grad = trained


def _some_names(network: nn.Module) -> str:
    names = [name for name, _ in network.named_parameters(remove_duplicate=False)]
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
