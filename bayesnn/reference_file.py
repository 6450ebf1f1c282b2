"""Reference posteriors in a file: what an independent tool computed, for machines without it."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from types import UnionType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bayesnn.files import atomic_write, check_writable
from bayesnn.plain_json import parse_json

_FORMAT = "bayesnn-reference"
_VERSION = 1
_TENSORS = ("x", "y", "x_test", "mean", "covariance", "prior_variance")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A Gaussian over function values at test points, with the data it was computed for.

    Attributes:
        distribution: "nngp", "ntkgp" or "deep_ensemble".
        network: description of the network, `bayesnn.networks.describe`.
        noise_std: σ.
        time: flow time t; infinite at the end of training.
        x: training inputs, [n, ...].
        y: training targets, [n, outputs].
        x_test: test points, [m, ...].
        mean: [m, outputs].
        covariance: [m, m], without the noise; the same for every output.
        prior_variance: variance of the function at the test points before any data, [m].
        computed_by: the software and its version.
    """

    distribution: str
    network: dict[str, Any]
    noise_std: float
    time: float
    x: Float64[Tensor, "n ..."]
    y: Float64[Tensor, "n k"]
    x_test: Float64[Tensor, "m ..."]
    mean: Float64[Tensor, "m k"]
    covariance: Float64[Tensor, "m m"]
    prior_variance: Float64[Tensor, " m"]
    computed_by: str

    def data_digest(self) -> str:
        """Return SHA-256 of the data and the test points, in hexadecimal."""
        digest = hashlib.sha256()
        for values in (self.x, self.y, self.x_test):
            array = np.ascontiguousarray(values.cpu().numpy(), dtype="<f8")
            digest.update(str(array.shape).encode())
            digest.update(array.tobytes())
        return digest.hexdigest()


def save_reference(reference: Reference, path: str | os.PathLike[str]) -> None:
    """Write a reference to one safetensors file, whole or not at all.

    Args:
        reference: what to write.
        path: the file to be written or replaced.

    Raises:
        ValueError: the path cannot be written.
    """
    target = check_writable(path)
    content = {
        "distribution": reference.distribution,
        "network": reference.network,
        "noise_std": reference.noise_std,
        "time": None if reference.time == float("inf") else reference.time,
        "data_digest": reference.data_digest(),
        "computed_by": reference.computed_by,
    }
    # copies, because the format refuses tensors that share memory
    tensors = {name: getattr(reference, name).contiguous().clone() for name in _TENSORS}
    metadata = {"format": _FORMAT, "version": str(_VERSION), "content": json.dumps(content)}
    with atomic_write(target) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def load_reference(path: str | os.PathLike[str]) -> Reference:
    """Read a reference.

    Args:
        path: a file of `save_reference`.

    Returns:
        The reference, on the CPU.

    Raises:
        ValueError: the file is missing, damaged, foreign or newer, or its data do not have the
            digest that was written with them.
    """
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise ValueError(
                    f"{path}: expected a reference posterior of bayesnn, found safetensors of "
                    f"format {metadata.get('format')!r:.40}; `save_reference` writes them."
                )
            if metadata.get("version") != str(_VERSION):
                raise ValueError(
                    f"{path}: format version {metadata.get('version')!r:.20}, expected {_VERSION}; "
                    "install the bayesnn that wrote it."
                )
            content = _content(metadata["content"])
            tensors = {name: file.get_tensor(name) for name in _TENSORS}
        _check_shapes(tensors)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file.") from error
    except (SafetensorError, KeyError, OSError, TypeError, _ContentError) as error:
        raise ValueError(f"{path}: not a reference file, or a damaged one ({error}).") from error
    digest = content.pop("data_digest")
    reference = Reference(**content, **tensors)
    if reference.data_digest() != digest:
        raise ValueError(f"{path}: the data do not have the digest that was written with them.")
    return reference


class _ContentError(Exception):
    """What the file says of itself cannot be."""


_KINDS: dict[str, type | UnionType] = {
    "distribution": str, "network": dict, "noise_std": int | float, "time": int | float | None,
    "data_digest": str, "computed_by": str,
}  # fmt: skip


def _content(text: str) -> dict[str, Any]:
    try:
        content = parse_json(text)
    except ValueError as error:
        raise _ContentError(f"its description: {error}") from error
    if not isinstance(content, dict) or content.keys() != _KINDS.keys():
        raise _ContentError(f"its description is not of {', '.join(_KINDS)}")
    for name, kind in _KINDS.items():
        if not isinstance(content[name], kind):
            raise _ContentError(f"its {name} is of another kind than it can be")
    if content["time"] is None:
        content["time"] = float("inf")
    return content


def _check_shapes(tensors: dict[str, Tensor]) -> None:
    if any(not one.dtype.is_floating_point for one in tensors.values()):
        raise _ContentError("its tensors are no numbers of floating point")
    x, y, x_test, mean, covariance, prior = (tuple(tensors[name].shape) for name in _TENSORS)
    n, m = x[:1], x_test[:1]
    if not (
        len(n) == len(m) == 1
        and x[1:] == x_test[1:]
        and len(y) == len(mean) == 2
        and (y[:1], mean, covariance, prior) == (n, m + y[1:], m + m, m)
    ):
        raise _ContentError("its tensors are of shapes that do not fit each other")


def as_reference_tensor(values: Any) -> Tensor:
    """Return values of any framework as a tensor of double precision on the CPU."""
    if isinstance(values, Tensor):
        return values.detach().cpu().double()
    return torch.tensor(np.array(values, dtype=np.float64))
