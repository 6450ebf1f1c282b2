"""Save a fitted ensemble to one file, and load it again to predict the same, bit for bit."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from torch import Tensor, nn

from bayesnn.versions import installed_versions
from ensembles.estimators.base import EnsembleBase
from ensembles.methods.protocol import Method
from ensembles.plain_data import decode, encode
from ensembles.stored_network import decode_network, encode_network
from ensembles.tensor_file import read_tensor_file, write_tensor_file

Estimator = TypeVar("Estimator", bound=EnsembleBase)

_FORMAT = "bayesnn-ensemble"
_VERSION = 2  # raise it whenever older code would misread the file

_LARGEST_POINT = 2**22  # values of a point at which a loaded ensemble is tried

_NO_TARGETS = np.dtype(float)  # classifiers keep no type of theirs
# what prediction needs of every estimator; a file without it is refused
_NEEDED = (
    "input_shape_",
    "likelihood_",
    "method_",
    "n_features_in_",
    "params_",
    "shift_params_",
    "standardizer_",
)


def save_ensemble(model: EnsembleBase, path: str | os.PathLike[str]) -> None:
    """Write a fitted ensemble to one safetensors file, whole or not at all.

    Settings that a file cannot hold (a random state in mid-use, a trainer of the user's own) become
    the default; fitted attributes must all be kept.

    Args:
        model: the ensemble, fitted.
        path: the file to be written or replaced.

    Raises:
        ValueError: the path cannot be written, or the method, the likelihood or the class labels
            are nothing that a file can hold.
    """
    tensors: dict[str, Tensor] = {}
    settings = {
        name: _setting(value, name, tensors)
        for name, value in model.get_params(deep=False).items()
        if name not in {"network", "device", "executor"}
    }
    fitted = {
        name: encode(value, name, tensors)
        for name, value in vars(model).items()
        if name.endswith("_") and name != "network_"
    }
    content = {
        "estimator": type(model).__name__,
        "settings": settings,
        "fitted": fitted,
        "network": encode_network(model.network_, tensors),
        "network_given": model.network is not None,
        "versions": installed_versions("bayesnn", "torch"),
    }
    write_tensor_file(path, tensors, content, file_format=_FORMAT, version=_VERSION)


def load_ensemble(
    cls: type[Estimator], path: str | os.PathLike[str], network: nn.Module | None = None
) -> Estimator:
    """Read an ensemble that predicts, bit for bit, what the saved one did.

    Args:
        cls: the estimator's class.
        path: a file of `save_ensemble`.
        network: the network that the ensemble was fitted with; needed only where it has modules
            that a file cannot describe. It is copied, and its constants are taken from the file.

    Returns:
        The fitted estimator, on the CPU.

    Raises:
        ValueError: the file is missing, empty, truncated, damaged, foreign, of another version or
            another estimator; the network is needed and missing, or does not fit.
    """
    tensors, content = read_tensor_file(path, file_format=_FORMAT, version=_VERSION)
    try:
        model = _restore(cls, tensors, content, network)
        _check_predicts(model)
    except KeyError as error:
        raise ValueError(f"{path}: {error.args[0]!r} is missing from the file.") from error
    except (ArithmeticError, AttributeError, IndexError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"{path}: the file's description is damaged ({str(error).splitlines()[0]:.200}); take "
            "it from a backup, or fit and save again."
        ) from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return model


def _check_predicts(model: EnsembleBase) -> None:
    """Let the ensemble predict at one point, so that parts that do not fit are found now."""
    shape = model.input_shape_
    if not isinstance(shape, tuple) or not all(type(n) is int and n > 0 for n in shape):
        raise TypeError("its input_shape_ is no shape")
    if math.prod(shape) <= _LARGEST_POINT:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of columns that have no names
            model.predict(np.zeros((1, *shape)))


def _setting(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Return a setting as JSON can hold it, None where it cannot."""
    try:
        return encode(value, f"settings/{name}", tensors)
    except ValueError:
        return None


def _restore(
    cls: type[Estimator],
    tensors: Mapping[str, Tensor],
    content: Mapping[str, Any],
    given: nn.Module | None,
) -> Estimator:
    if content["estimator"] not in {one.__name__ for one in cls.__mro__}:
        raise ValueError(
            f"expected an {cls.__name__}, found {content['estimator']!r:.40}; load it with that "
            "class."
        )
    fitted = {name: decode(plain, tensors) for name, plain in content["fitted"].items()}
    for name in _NEEDED:
        if name not in fitted:
            raise KeyError(name)
    if not isinstance(fitted["method_"], Method):
        raise TypeError("its method is none")
    y_dtype = fitted.get("y_dtype_", _NO_TARGETS)
    if not isinstance(y_dtype, np.dtype) or y_dtype.kind != "f":
        raise TypeError("its y_dtype_ is no floating type")
    network = decode_network(content["network"], tensors, fitted["params_"], given)
    settings = {name: decode(plain, tensors) for name, plain in content["settings"].items()}
    model = cls(network if content["network_given"] else None, **settings)
    model.network_ = network
    for name, value in fitted.items():
        if not name.isidentifier() or not name.endswith("_") or name.startswith("_"):
            raise TypeError(f"{name!r:.40} is no name of a fitted attribute")
        setattr(model, name, value)
    return model
