"""Save a fitted ensemble to one file, and load it again to predict the same, bit for bit."""

from __future__ import annotations

import copy
import dataclasses
import importlib.metadata
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from torch import Tensor, nn

from bayesnn.networks import build, describe
from ensembles.estimators import EnsembleRegressor
from ensembles.likelihoods.gaussian import Gaussian, gaussian
from ensembles.methods.anchored import Anchored, anchored
from ensembles.methods.deep_ensemble import DeepEnsemble, deep_ensemble
from ensembles.methods.ntkgp_fn import NTKGPFn, ntkgp_fn
from ensembles.methods.ntkgp_lin import NTKGPLin, ntkgp_lin
from ensembles.methods.ntkgp_param import NTKGPParam, ntkgp_param
from ensembles.methods.randomised_prior import RandomisedPrior, randomised_prior
from ensembles.standardizer import Standardizer
from ensembles.tensor_file import read_tensor_file, write_tensor_file
from ensembles.trainers.adam import Adam, adam
from ensembles.trainers.gauss_newton import GaussNewton, gauss_newton

Regressor = TypeVar("Regressor", bound=EnsembleRegressor)

_FORMAT = "bayesnn-ensemble"
_VERSION = 1  # raise it whenever older code would misread the file

_Table = Mapping[str, tuple[type[Any], Callable[..., Any]]]

# what a file may name; nothing else is called, whatever it says
_METHODS: _Table = {
    "deep_ensemble": (DeepEnsemble, deep_ensemble),
    "anchored": (Anchored, anchored),
    "randomised_prior": (RandomisedPrior, randomised_prior),
    "ntkgp_param": (NTKGPParam, ntkgp_param),
    "ntkgp_fn": (NTKGPFn, ntkgp_fn),
    "ntkgp_lin": (NTKGPLin, ntkgp_lin),
}
_LIKELIHOODS: _Table = {"gaussian": (Gaussian, gaussian)}
_TRAINERS: _Table = {"adam": (Adam, adam), "gauss_newton": (GaussNewton, gauss_newton)}

_SETTINGS = ("n_members", "noise_std", "standardize", "random_state")
_STANDARDIZER = ("x_mean", "x_scale", "y_mean", "y_scale")


def save_ensemble(model: EnsembleRegressor, path: str | os.PathLike[str]) -> None:
    """Write a fitted ensemble to one safetensors file, whole or not at all.

    Args:
        model: the ensemble, fitted.
        path: the file to be written or replaced.

    Raises:
        ValueError: the path cannot be written, or the method is not one that a file can name.
    """
    if _named(_METHODS, model.method_) is None:
        raise ValueError(
            f"method: a file can name {', '.join(_METHODS)} only, got "
            f"{type(model.method_).__name__}; add it to ensembles/store.py."
        )
    write_tensor_file(path, _tensors(model), _content(model), file_format=_FORMAT, version=_VERSION)


def load_ensemble(
    cls: type[Regressor], path: str | os.PathLike[str], network: nn.Module | None = None
) -> Regressor:
    """Read an ensemble that predicts, bit for bit, what the saved one did.

    Args:
        cls: the estimator's class.
        path: a file of `save_ensemble`.
        network: the network that the ensemble was fitted with; needed only where it has modules
            that a file cannot describe. It is copied, and its constants are taken from the file.

    Returns:
        The fitted estimator, on the CPU.

    Raises:
        ValueError: the file is missing, empty, truncated, foreign or newer; something in it is
            missing or of the wrong shape; the network is needed and missing, or does not fit.
    """
    tensors, content = read_tensor_file(path, file_format=_FORMAT, version=_VERSION)
    try:
        return _restore(cls, tensors, content, network)
    except KeyError as error:
        raise ValueError(f"{path}: {error.args[0]!r} is missing from the file.") from error
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{path}: the file's description is damaged ({error}).") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _tensors(model: EnsembleRegressor) -> dict[str, Tensor]:
    tensors = {"noise_std": model.noise_std_}
    tensors |= {f"params/{name}": value for name, value in model.params_.items()}
    for part, params in model.shift_params_.items():
        tensors |= {f"shift/{part}/{name}": value for name, value in params.items()}
    tensors |= {f"network/{name}": value for name, value in _constants(model.network_).items()}
    tensors |= {
        f"standardizer/{name}": getattr(model.standardizer_, name) for name in _STANDARDIZER
    }
    return tensors


def _content(model: EnsembleRegressor) -> dict[str, Any]:
    names = getattr(model, "feature_names_in_", None)
    return {
        "settings": {name: _plain(getattr(model, name)) for name in _SETTINGS},
        "method": _named(_METHODS, model.method_),
        "likelihood": _named(_LIKELIHOODS, model.likelihood_),
        "trainer": _named(_TRAINERS, model.trainer),  # one without a name becomes the default
        "network": _description(model.network_),  # None: whoever loads it must bring it
        "network_type": type(model.network_).__name__,
        "network_given": model.network is not None,
        "n_features_in": model.n_features_in_,
        "input_shape": list(model.input_shape_),
        "feature_names_in": None if names is None else [str(name) for name in names],
        "y_ndim": model.y_ndim_,
        "y_dtype": model.y_dtype_.name,
        "members": list(model.members_),
        "converged": list(model.converged_),
        "n_iter": model.n_iter_,
        "shapes": {name: list(value.shape) for name, value in _tensors(model).items()},
        "versions": {name: importlib.metadata.version(name) for name in ("bayesnn", "torch")},
    }


def _named(table: _Table, value: Any) -> dict[str, Any] | None:
    """Return a method's or trainer's name and settings; None for one that files do not know."""
    for name, (kind, _) in table.items():
        if type(value) is kind:
            return {"name": name, "settings": dataclasses.asdict(value)}
    return None


def _plain(value: Any) -> Any:
    """Return what JSON can hold of a setting; a random state in mid-use is left out."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return value.tolist()
    return list(value) if isinstance(value, list | tuple) else None


def _restore(
    cls: type[Regressor],
    tensors: Mapping[str, Tensor],
    content: Mapping[str, Any],
    given: nn.Module | None,
) -> Regressor:
    _check_shapes(tensors, content["shapes"])
    network = _network(tensors, content, given)
    settings, trainer = content["settings"], content["trainer"]
    method = _made(_METHODS, content["method"], "method")
    likelihood = _made(_LIKELIHOODS, content["likelihood"], "likelihood")
    model = cls(
        network if content["network_given"] else None,
        method=method,
        likelihood=likelihood,
        trainer=None if trainer is None else _made(_TRAINERS, trainer, "trainer"),
        **{name: settings[name] for name in _SETTINGS},
    )
    shift: dict[str, dict[str, Tensor]] = {}
    for name, value in _under(tensors, "shift/").items():
        part, _, parameter = name.partition("/")
        shift.setdefault(part, {})[parameter] = value
    model.network_ = network
    model.method_ = method
    model.likelihood_ = likelihood
    model.params_ = _under(tensors, "params/")
    model.shift_params_ = shift
    model.standardizer_ = Standardizer(**_under(tensors, "standardizer/"))
    model.noise_std_ = tensors["noise_std"]
    model.n_features_in_ = content["n_features_in"]
    model.input_shape_ = tuple(content["input_shape"])
    if content["feature_names_in"] is not None:
        model.feature_names_in_ = np.array(content["feature_names_in"], dtype=object)
    model.y_ndim_ = content["y_ndim"]
    model.y_dtype_ = np.dtype(content["y_dtype"])
    model.members_ = tuple(content["members"])
    model.converged_ = tuple(content["converged"])
    model.n_iter_ = content["n_iter"]
    return model


def _check_shapes(tensors: Mapping[str, Tensor], shapes: Mapping[str, list[int]]) -> None:
    for name, shape in shapes.items():
        if list(tensors[name].shape) != shape:
            raise ValueError(
                f"expected the tensor {name!r} to have the shape {tuple(shape)}, "
                f"found {tuple(tensors[name].shape)}."
            )


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _made(table: _Table, named: Mapping[str, Any], kind: str) -> Any:
    if named["name"] not in table:
        raise ValueError(
            f"the {kind} {named['name']!r} is unknown, expected one of {', '.join(table)}; "
            "was the file written by other software?"
        )
    try:
        return table[named["name"]][1](**named["settings"])
    except TypeError as error:
        raise ValueError(f"the {kind} has settings that do not fit ({error}).") from error


def _network(
    tensors: Mapping[str, Tensor], content: Mapping[str, Any], given: nn.Module | None
) -> nn.Module:
    description = content["network"]
    if given is None and description is None:
        raise ValueError(
            f"the network, a {content['network_type']}, has modules that a file cannot describe; "
            "load it with network=, the network that was fitted."
        )
    network = build(description) if given is None else copy.deepcopy(given)
    constants = _under(tensors, "network/")
    members = _under(tensors, "params/")
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    wanted = {name: tuple(value.shape[1:]) for name, value in members.items()}
    wanted |= {name: tuple(value.shape) for name, value in constants.items()}
    found = {name: tuple(v.shape) for name, v in (trained | _constants(network)).items()}
    differing = sorted(k for k in wanted | found if wanted.get(k) != found.get(k))
    if differing:
        name = differing[0]
        raise ValueError(
            f"network: expected the one that was fitted, with {name!r} of shape "
            f"{wanted.get(name, 'none')}, got {found.get(name, 'none')}."
        )
    if given is not None and description is not None and _description(given) != description:
        raise ValueError(
            "network: expected the one that was fitted, got one with other layers or settings; "
            "leave network out, the file describes it."
        )
    network = network.to(dtype=next(iter(members.values())).dtype)
    for name, value in constants.items():
        owner, _, own_name = name.rpartition(".")
        # not load_state_dict, which leaves buffers out that are not persistent
        frozen = name in dict(network.named_parameters())
        setattr(
            network.get_submodule(owner),
            own_name,
            nn.Parameter(value, requires_grad=False) if frozen else value,
        )
    return network.eval()


def _constants(network: nn.Module) -> dict[str, Tensor]:
    """Return what is not trained: buffers and frozen parameters."""
    frozen = {name: p for name, p in network.named_parameters() if not p.requires_grad}
    return frozen | dict(network.named_buffers())


def _description(network: nn.Module) -> dict[str, Any] | None:
    try:
        return describe(network)
    except ValueError:
        return None
