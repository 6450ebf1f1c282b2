"""Settings and fitted attributes as data that JSON can hold, with their tensors apart.

Objects are written by name. A file can name what stands in the table, and nothing else is called,
whatever it says.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ensembles.likelihoods.cross_entropy import Categorical, cross_entropy
from ensembles.likelihoods.gaussian import Gaussian, gaussian
from ensembles.likelihoods.heteroscedastic import Heteroscedastic, heteroscedastic
from ensembles.likelihoods.one_hot_regression import OneHotRegression, one_hot_regression
from ensembles.likelihoods.student_t import StudentT, student_t
from ensembles.methods.anchored import Anchored, anchored
from ensembles.methods.deep_ensemble import DeepEnsemble, deep_ensemble
from ensembles.methods.ntkgp_fn import NTKGPFn, ntkgp_fn
from ensembles.methods.ntkgp_lin import NTKGPLin, ntkgp_lin
from ensembles.methods.ntkgp_param import NTKGPParam, ntkgp_param
from ensembles.methods.randomised_prior import RandomisedPrior, randomised_prior
from ensembles.standardizer import Standardizer
from ensembles.trainers.adam import Adam, adam
from ensembles.trainers.execution import Execution
from ensembles.trainers.gauss_newton import GaussNewton, gauss_newton
from ensembles.trainers.held_out import EarlyStopping, early_stopping
from ensembles.trainers.schedules import (
    Constant,
    Cosine,
    StepDecay,
    constant,
    cosine,
    step_decay,
)
from ensembles.trainers.sgd import SGD, sgd

_OBJECTS: dict[type, Callable[..., Any]] = {
    DeepEnsemble: deep_ensemble,
    Anchored: anchored,
    RandomisedPrior: randomised_prior,
    NTKGPParam: ntkgp_param,
    NTKGPFn: ntkgp_fn,
    NTKGPLin: ntkgp_lin,
    Gaussian: gaussian,
    Heteroscedastic: heteroscedastic,
    StudentT: student_t,
    Categorical: cross_entropy,
    OneHotRegression: one_hot_regression,
    Adam: adam,
    SGD: sgd,
    GaussNewton: gauss_newton,
    Constant: constant,
    Cosine: cosine,
    StepDecay: step_decay,
    EarlyStopping: early_stopping,
    Execution: Execution,
    Standardizer: Standardizer,
}
_BUILDERS = {builder.__name__: builder for builder in _OBJECTS.values()}
_DTYPES = {str(one): one for one in (torch.float64, torch.float32, torch.float16, torch.bfloat16)}
_LARGEST_ARRAY = 2**26  # bytes of labels and such; whatever is larger is a tensor
_SCALARS = (bool, int, float, str, type(None))


def known_objects() -> tuple[type, ...]:
    """Return the types that a file can name."""
    return tuple(_OBJECTS)


def encode(value: Any, key: str, tensors: dict[str, Tensor]) -> Any:
    """Return a value as JSON can hold it; its tensors go into `tensors`, under names with `key`.

    Args:
        value: numbers, strings, dtypes, arrays, tensors, known objects, and tuples, lists and
            mappings of them.
        key: what the value is called.
        tensors: where its tensors are put.

    Returns:
        What `decode` takes.

    Raises:
        ValueError: something that is none of these.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Tensor):
        tensors[key] = value
        return {"tensor": key}
    if isinstance(value, np.ndarray):
        return _encode_array(value, key)
    if isinstance(value, np.dtype):
        return {"array_dtype": value.str}
    if isinstance(value, torch.dtype):
        return {"tensor_dtype": str(value)}
    if isinstance(value, Mapping):
        parts = {name: encode(part, f"{key}/{name}", tensors) for name, part in value.items()}
        return {"mapping": parts}
    if isinstance(value, list | tuple):
        items = [encode(part, f"{key}/{i}", tensors) for i, part in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    if type(value) in _OBJECTS:
        settings = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        held = {name: encode(part, f"{key}/{name}", tensors) for name, part in settings.items()}
        return {"object": _OBJECTS[type(value)].__name__, "settings": held}
    if type(value) in _SCALARS:
        return value
    raise ValueError(
        f"{key.rstrip('_')}: a file can name {', '.join(_BUILDERS)} only, got "
        f"{type(value).__name__}; add it to ensembles/plain_data.py."
    )


def decode(plain: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return the value that `encode` has written.

    Args:
        plain: from JSON.
        tensors: those of the file.

    Raises:
        ValueError: an object that is unknown, or whose settings do not fit.
        KeyError: a tensor is missing.
    """
    if type(plain) in _SCALARS:
        return plain
    if not isinstance(plain, dict) or len(plain.keys() - {"settings"}) != 1:
        raise TypeError(f"expected a value, found {plain!r:.80}")
    ((kind, inner),) = ((k, v) for k, v in plain.items() if k != "settings")
    if kind == "object":
        return _decode_object(inner, plain["settings"], tensors)
    decoders: dict[str, Callable[[], Any]] = {
        "tensor": lambda: tensors[inner],
        "array": lambda: _decode_array(*inner),
        "array_dtype": lambda: _array_dtype(inner),
        "tensor_dtype": lambda: _DTYPES[inner],
        "mapping": lambda: {name: decode(part, tensors) for name, part in inner.items()},
        "tuple": lambda: tuple(decode(part, tensors) for part in inner),
        "list": lambda: [decode(part, tensors) for part in inner],
    }
    if kind not in decoders:
        raise TypeError(f"expected a value, found one of the kind {kind!r:.40}")
    return decoders[kind]()


def _encode_array(value: Any, key: str) -> Any:
    """Return a short array, such as labels; numbers, strings and mixed objects come back alike."""
    items = value.tolist()
    flat = np.ravel(value).tolist()
    if value.dtype.kind not in "biufUO" or not all(type(one) in _SCALARS for one in flat):
        found = type(flat[0]).__name__ if value.dtype.kind == "O" else value.dtype
        raise ValueError(
            f"{key.rstrip('_')}: a file can hold numbers and strings only, got {found}; convert "
            "them before fit."
        )
    return {"array": [value.dtype.str, items]}


def _decode_array(type_name: Any, items: Any) -> Any:
    dtype = _array_dtype(type_name)
    n_items = np.array(items, dtype=object).size
    if n_items * dtype.itemsize > _LARGEST_ARRAY:
        raise TypeError(f"expected short arrays of numbers and strings, found {n_items} of {dtype}")
    return np.array(items, dtype=dtype)


def _array_dtype(name: Any) -> np.dtype[Any]:
    # as `dtype.str` spells it; NumPy reads far more than that
    if not isinstance(name, str) or not re.fullmatch(r"[<>|][biufUO]\d{0,9}", name):
        raise TypeError(f"expected a type of numbers or strings, found {name!r:.40}")
    return np.dtype(name)


def _decode_object(name: Any, settings: Any, tensors: Mapping[str, Tensor]) -> Any:
    if name not in _BUILDERS:
        raise ValueError(
            f"the object {name!r:.40} is unknown, expected one of {', '.join(_BUILDERS)}; was the "
            "file written by other software?"
        )
    given = {key: decode(part, tensors) for key, part in settings.items()}
    try:
        return _BUILDERS[name](**given)
    except TypeError as error:
        raise ValueError(f"{name} has settings that do not fit ({error}).") from error
