"""Digests of data and settings: what tells one fit from another."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor


def digest(value: object) -> str:
    """Return a digest of data and settings: tensors bit by bit, dataclasses field by field.

    Functions count by their names, other objects by their types.
    """
    hasher = hashlib.sha256()
    _feed(hasher, value)
    return hasher.hexdigest()


def _feed(hasher: Any, value: object) -> None:
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous()
        hasher.update(f"tensor {plain.dtype} {tuple(plain.shape)}".encode())
        if plain.numel():
            hasher.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    elif isinstance(value, Mapping):
        for name in sorted(value, key=str):
            hasher.update(f"key {name!s} ".encode())
            _feed(hasher, value[name])
    elif isinstance(value, list | tuple):
        hasher.update(f"sequence {len(value)} ".encode())
        for part in value:
            _feed(hasher, part)
    elif value is None or isinstance(value, bool | int | float | str | bytes | torch.dtype):
        hasher.update(f"plain {value!r} ".encode())
    elif callable(value) and hasattr(value, "__qualname__"):
        hasher.update(f"function {value.__module__}.{value.__qualname__} ".encode())
    else:
        hasher.update(f"object {type(value).__module__}.{type(value).__qualname__} ".encode())
        held = [field.name for field in fields(value)] if is_dataclass(value) else []
        for name in held:
            hasher.update(f"field {name} ".encode())
            _feed(hasher, getattr(value, name))
